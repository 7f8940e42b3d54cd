"""The pure parts of the driver: the order of an epoch, placement, batches."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.epoch import STEPS, Step, epoch_after, steps_left
from cluster.place.plan import plan_hosts
from cluster.questions import join_parts


def test_an_epoch_goes_on_after_its_last_block() -> None:
    assert steps_left("genesis") == STEPS
    assert steps_left("close") == STEPS
    assert steps_left("open")[0] is Step.QUERY
    assert steps_left("commit") == (Step.TRAIN, Step.CLOSE)
    assert [epoch_after(4, kind) for kind in ("open", "commit", "close")] == [4, 4, 5]
    assert epoch_after(0, "genesis") == 1


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 10**9), max_size=30), st.integers(1, 8))
def test_every_peer_has_one_host_and_loads_are_even(parameters: dict[str, int], hosts: int) -> None:
    plan = plan_hosts(parameters, hosts)
    assert len(plan) == hosts
    assert sorted(peer for peers in plan.values() for peer in peers) == sorted(parameters)
    loads = [sum(parameters[peer] for peer in peers) for peers in plan.values()]
    assert max(loads) - min(loads) <= max(parameters.values(), default=0)
    assert plan == plan_hosts(dict(reversed(parameters.items())), hosts)


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(1, 20))
def test_batches_hold_every_window_once_and_are_full(windows: list[int], batch: int) -> None:
    batches = join_parts(windows, batch)
    sizes = [sum(part.last - part.first for part in parts) for parts in batches]
    assert sum(sizes) == sum(windows)
    assert all(size == batch for size in sizes[:-1])
    seen = [(part.query, window) for parts in batches for part in parts for window in range(part.first, part.last)]
    assert seen == [(query, window) for query, count in enumerate(windows) for window in range(count)]

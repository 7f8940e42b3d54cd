"""The pure parts of the driver: the order of an epoch, placement, batches."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.epoch import STEPS, Step, epoch_after, steps_left
from cluster.place.plan import HostPlan, Wanted, plan_epoch, plan_hosts
from cluster.questions import join_parts, make_requests, stack_key


def test_an_epoch_goes_on_after_its_last_block() -> None:
    assert steps_left("genesis") == STEPS
    assert steps_left("close") == STEPS
    assert steps_left("open")[0] is Step.QUERY
    assert steps_left("commit") == (Step.CLOSE,)
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


def _version(number: int) -> bytes:
    return number.to_bytes(2, "big") * 16


BASES = 3


@st.composite
def _versions(draw: st.DrawFn) -> list[Wanted]:
    """Whole weights of some shapes, the first of which are bases, and adapters over those."""
    wanted = []
    for number in range(draw(st.integers(0, 40))):
        base = draw(st.sampled_from([None, None, *range(BASES)])) if number >= BASES else None
        wanted.append(
            Wanted(
                version=_version(number),
                signature=bytes([draw(st.integers(0, 3)), 0 if base is None else base + 1]),
                parameters=draw(st.integers(0, 10**6)),
                size_bytes=draw(st.integers(0, 1000)),
                base=None if base is None else _version(base),
            )
        )
    return [one for one in wanted if draw(st.booleans())]


@given(_versions(), st.integers(1, 5), st.integers(1, 4000), st.integers(1, 9), st.sets(st.integers(0, 40)))
def test_every_version_stands_in_one_stack_of_its_like(
    wanted: list[Wanted], hosts: int, capacity_bytes: int, most: int, failed: set[int]
) -> None:
    by_version = {one.version: one for one in wanted}
    alone = {_version(number) for number in failed}
    base_bytes = {_version(number): 100 for number in range(BASES)}
    plan = plan_epoch(wanted, base_bytes, hosts, capacity_bytes=capacity_bytes, most=most, alone=alone)
    assert len(plan) == hosts
    stacks = [stack for own in plan.values() for stack in own.stacks]
    assert sorted(version for stack in stacks for version in stack.versions) == sorted(by_version)
    for stack in stacks:
        members = [by_version[version] for version in stack.versions]
        assert len({(one.signature, one.base) for one in members}) == 1
        assert len(members) <= most
        assert len(members) == 1 or not alone & set(stack.versions)
        assert stack.size_bytes == sum(one.size_bytes for one in members)
        assert len(members) == 1 or stack.size_bytes <= capacity_bytes
    homes = {version: host for host, own in plan.items() for stack in own.stacks for version in stack.versions}
    for one in wanted:
        if one.base is not None:
            assert {homes[other.version] for other in wanted if one.base in (other.base, other.version)} == {
                homes[one.version]
            }
    for host, own in plan.items():
        here = [one for one in wanted if homes[one.version] == host]
        bases = {one.base for one in here if one.base is not None} - {one.version for one in here}
        assert own.size_bytes == sum(one.size_bytes for one in here) + 100 * len(bases)
        assert own.fits == (own.size_bytes <= capacity_bytes)
    assert plan == plan_epoch(wanted, base_bytes, hosts, capacity_bytes=capacity_bytes, most=most, alone=alone)


def _alike(count: int, size_bytes: int) -> list[Wanted]:
    return [Wanted(_version(n), b"s", parameters=10, size_bytes=size_bytes) for n in range(count)]


def _sizes(plan: dict[str, HostPlan]) -> list[list[int]]:
    return [[len(stack.versions) for stack in own.stacks] for own in plan.values()]


def test_stacks_are_even_and_leave_no_host_idle() -> None:
    plan = plan_epoch(_alike(64, 1), {}, 2, capacity_bytes=1000, most=8)
    assert _sizes(plan) == [[8] * 4, [8] * 4]
    assert _sizes(plan_epoch(_alike(9, 1), {}, 1, capacity_bytes=1000, most=8)) == [[5, 4]]
    assert _sizes(plan_epoch(_alike(4, 1), {}, 2, capacity_bytes=1000, most=8)) == [[2], [2]]


def test_what_does_not_fit_is_paged_in_stacks_that_do() -> None:
    plan = plan_epoch(_alike(64, 100), {}, 1, capacity_bytes=450, most=8)
    assert _sizes(plan) == [[4] * 16]
    assert not plan["host-0"].fits
    large = [*_alike(3, 100), Wanted(_version(9), b"t", parameters=1, size_bytes=10_000)]
    assert sum(len(own.stacks) for own in plan_epoch(large, {}, 2, capacity_bytes=450, most=8).values()) == 3


def test_a_stack_is_asked_for_as_many_windows_in_all_as_a_version_alone() -> None:
    stacks = [(_version(1), _version(2), _version(3)), (_version(4),)]
    requests = make_requests(stacks, {_version(2): "ada"}, [10, 10], lambda stack: 12 // len(stack))
    for versions in stacks:
        own = [request for task, request in requests.items() if task.key == stack_key(versions)]
        assert all(request.versions == versions for request in own)
        asked = [sum(part.last - part.first for part in request.parts) * len(versions) for request in own]
        assert max(asked) == 12
        assert sum(asked) == 20 * len(versions)
    assert next(iter(requests.values())).wallets == ("operator", "ada", "operator")
    assert stack_key(stacks[1]) == _version(4)


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(1, 20))
def test_batches_hold_every_window_once_and_are_full(windows: list[int], batch: int) -> None:
    batches = join_parts(windows, batch)
    sizes = [sum(part.last - part.first for part in parts) for parts in batches]
    assert sum(sizes) == sum(windows)
    assert all(size == batch for size in sizes[:-1])
    seen = [(part.query, window) for parts in batches for part in parts for window in range(part.first, part.last)]
    assert seen == [(query, window) for query, count in enumerate(windows) for window in range(count)]

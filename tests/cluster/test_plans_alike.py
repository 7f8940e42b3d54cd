"""A plan of many versions is the one that looking at every host for each of them would give, at a lower cost."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.place.plan import HostPlan, Stack, Wanted, _spread, host_names, plan_epoch, plan_hosts


def spread(units: Sequence[tuple[tuple[Stack, ...], int]], hosts: int, capacity_bytes: int) -> dict[str, HostPlan]:
    """As it is easiest to read."""
    names = host_names(hosts)
    load, used = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    held: dict[str, list[Stack]] = {name: [] for name in names}
    for stacks, base_bytes in sorted(units, key=lambda u: (-sum(s.parameters for s in u[0]), u[0][0].versions)):
        size_bytes = base_bytes + sum(stack.size_bytes for stack in stacks)
        roomy = [name for name in names if used[name] + size_bytes <= capacity_bytes]
        host = min(roomy or names, key=lambda name: load[name])
        held[host] += stacks
        used[host] += size_bytes
        load[host] += sum(stack.parameters for stack in stacks)
    return {name: HostPlan(tuple(held[name]), used[name], used[name] <= capacity_bytes) for name in names}


stacks = st.builds(
    Stack,
    versions=st.tuples(st.binary(min_size=4, max_size=4)),
    size_bytes=st.integers(0, 40),
    parameters=st.integers(0, 9),
)


@given(
    st.lists(
        st.tuples(st.lists(stacks, min_size=1, max_size=3).map(tuple), st.integers(0, 9)),
        max_size=30,
        unique_by=lambda unit: unit[0][0].versions,
    ),
    st.integers(1, 12),
    st.integers(0, 150),
)
@settings(max_examples=80, deadline=None)
def test_hosts_are_chosen_as_by_looking_at_all_of_them(
    units: list[tuple[tuple[Stack, ...], int]], hosts: int, capacity_bytes: int
) -> None:
    assert _spread(units, hosts, capacity_bytes) == spread(units, hosts, capacity_bytes)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(0, 5), max_size=30), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_jobs_go_where_least_is_to_be_done(sizes: dict[str, int], hosts: int) -> None:
    load = dict.fromkeys(host_names(hosts), 0)
    plan: dict[str, list[str]] = {host: [] for host in load}
    for job in sorted(sizes, key=lambda name: (-sizes[name], name)):
        host = min(load, key=lambda name: (load[name], name))
        plan[host].append(job)
        load[host] += sizes[job]
    assert plan_hosts(sizes, hosts) == {host: tuple(jobs) for host, jobs in plan.items()}


def test_as_many_bases_as_versions_stand_each_with_its_own_adapters() -> None:
    bases = [Wanted(b"base%04d" % index, b"s", 2, 8) for index in range(300)]
    adapters = [Wanted(b"part%04d" % index, b"a", 3, 1, base=b"base%04d" % (index % 300)) for index in range(600)]
    plan = plan_epoch([*bases, *adapters], {base.version: 8 for base in bases}, 16, capacity_bytes=10_000, most=8)
    for own in plan.values():
        held = {version for stack in own.stacks for version in stack.versions}
        for adapter in adapters:
            assert (adapter.version in held) == (adapter.base in held)
    assert sum(len(stack.versions) for own in plan.values() for stack in own.stacks) == 900

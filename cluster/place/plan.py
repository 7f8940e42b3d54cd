"""Which host answers for which versions, and which of them in one batch: a pure plan, made anew each epoch.

Invariants: every version stands in one stack and every stack at one host, adapters of one base together; versions of
one stack have one signature; a stack fits into a host, unless it is of a single version; a plan depends on nothing but
its arguments, so a restart gives the same; its cost grows little faster than the number of versions and hosts.
"""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

Load = tuple[int, int]
"""What a host has to compute so far, and its place among the hosts."""


@dataclass(frozen=True)
class Wanted:
    """A version that is to answer.

    Attributes:
        version: its manifest.
        signature: equal for versions that can be stacked.
        parameters: numbers that it computes with, its base's among them.
        size_bytes: what it occupies in a host by itself, an adapter without its base.
        base: the manifest that an adapter is over.
    """

    version: bytes
    signature: bytes
    parameters: int
    size_bytes: int
    base: bytes | None = None


@dataclass(frozen=True)
class Stack:
    """Versions that are asked together, and what they occupy and compute with; their base is not counted."""

    versions: tuple[bytes, ...]
    size_bytes: int
    parameters: int


@dataclass(frozen=True)
class HostPlan:
    """What a host answers for.

    Attributes:
        stacks: in the order in which they are asked.
        size_bytes: of all of them, and each base once.
        fits: whether that is within its capacity; else weights are paged in and out while it answers.
    """

    stacks: tuple[Stack, ...]
    size_bytes: int
    fits: bool


def plan_epoch(
    wanted: Sequence[Wanted],
    base_bytes: Mapping[bytes, int],
    hosts: int,
    *,
    capacity_bytes: int,
    most: int,
    alone: Collection[bytes] = (),
) -> dict[str, HostPlan]:
    """Put versions of one shape together, and spread them over hosts so that each has about as much to compute.

    Args:
        wanted: the versions that are to answer, each once.
        base_bytes: what the adapters' bases occupy, by manifest.
        hosts: how many there are.
        capacity_bytes: of each host.
        most: versions in one stack.
        alone: versions that are not stacked, because they failed.

    Returns:
        by host's name. What fits nowhere goes to the host with the least to compute.
    """
    families: dict[bytes, list[Wanted]] = {base: [] for base in sorted({one.base for one in wanted if one.base})}
    for one in wanted:
        for base in (one.version, one.base):
            if base is not None and base in families:
                families[base].append(one)
    units: list[tuple[tuple[Stack, ...], int]] = []
    for group in _alike([one for one in wanted if one.base is None and one.version not in families]):
        units += [((stack,), 0) for stack in _cut(group, min(most, -(-len(group) // hosts)), capacity_bytes, alone)]
    for base, family in families.items():
        held = base_bytes.get(base, 0)
        stacks = [stack for group in _alike(family) for stack in _cut(group, most, capacity_bytes - held, alone)]
        units.append((tuple(stacks), 0 if any(one.version == base for one in family) else held))
    return _spread(units, hosts, capacity_bytes)


def plan_hosts(sizes: Mapping[str, int], hosts: int) -> dict[str, tuple[str, ...]]:
    """Spread jobs over hosts so that each has about as much to compute.

    Args:
        sizes: for each job how many parameters its model has.
        hosts: how many hosts there are.

    Returns:
        for each host's name its jobs, the largest first; a host more than there are jobs has none.
    """
    plan: dict[str, list[str]] = {host: [] for host in host_names(hosts)}
    least = [(0, host) for host in sorted(plan)]
    for job in sorted(sizes, key=lambda name: (-sizes[name], name)):
        load, host = least[0]
        plan[host].append(job)
        heapq.heapreplace(least, (load + sizes[job], host))
    return {host: tuple(jobs) for host, jobs in plan.items()}


def host_names(hosts: int) -> tuple[str, ...]:
    """The names of so many hosts."""
    return tuple(f"host-{index}" for index in range(hosts))


def _alike(versions: Sequence[Wanted]) -> list[list[Wanted]]:
    """Versions by signature, both in the order given."""
    groups: dict[bytes, list[Wanted]] = {}
    for one in versions:
        groups.setdefault(one.signature, []).append(one)
    return list(groups.values())


def _cut(group: Sequence[Wanted], most: int, room_bytes: int, alone: Collection[bytes]) -> list[Stack]:
    """Stacks of a group, about equally large, each within `room_bytes`; each of `alone` by itself."""
    sociable = [one for one in group if one.version not in alone]
    stacks = [[one] for one in group if one.version in alone]
    count = -(-len(sociable) // max(1, most))
    even = -(-len(sociable) // max(1, count))
    open_stack: list[Wanted] = []
    for one in sociable:
        size_bytes = sum(other.size_bytes for other in open_stack) + one.size_bytes
        if open_stack and (len(open_stack) == even or size_bytes > room_bytes):
            stacks.append(open_stack)
            open_stack = []
        open_stack.append(one)
    stacks += [open_stack] if open_stack else []
    return [
        Stack(
            tuple(one.version for one in stack),
            sum(one.size_bytes for one in stack),
            sum(one.parameters for one in stack),
        )
        for stack in stacks
    ]


def _spread(units: Sequence[tuple[tuple[Stack, ...], int]], hosts: int, capacity_bytes: int) -> dict[str, HostPlan]:
    """The largest unit first, each where there is room and least to compute."""
    names = host_names(hosts)
    free_bytes, held = [capacity_bytes] * hosts, [list[Stack]() for _ in names]
    ordered = sorted(units, key=lambda unit: (-_parameters(unit[0]), unit[0][0].versions))
    sizes = [base_bytes + sum(stack.size_bytes for stack in stacks) for stacks, base_bytes in ordered]
    smallest = [*accumulate(reversed(sizes), min)][::-1]
    roomy, full = [(0, host) for host in range(hosts)], list[Load]()
    for (stacks, _), size_bytes, least_bytes in zip(ordered, sizes, smallest, strict=True):
        load, host = _least_loaded(roomy, full, free_bytes, size_bytes, least_bytes)
        held[host] += stacks
        free_bytes[host] -= size_bytes
        heapq.heappush(roomy, (load + _parameters(stacks), host))
    return {
        name: HostPlan(tuple(own), capacity_bytes - free, free >= 0)
        for name, own, free in zip(names, held, free_bytes, strict=True)
    }


def _least_loaded(
    roomy: list[Load], full: list[Load], free_bytes: Sequence[int], size_bytes: int, least_bytes: int
) -> Load:
    """Take the host with the least to compute out of those with room, or out of all where none has. Who has no room
    for the smallest that is still to come is not looked at again.
    """
    found, aside = None, []
    while roomy and found is None:
        entry = heapq.heappop(roomy)
        if free_bytes[entry[1]] >= size_bytes:
            found = entry
        elif free_bytes[entry[1]] >= least_bytes:
            aside.append(entry)
        else:
            heapq.heappush(full, entry)
    for entry in aside:
        heapq.heappush(roomy, entry)
    return found or heapq.heappop(min((heap for heap in (roomy, full) if heap), key=lambda heap: heap[0]))


def _parameters(stacks: Sequence[Stack]) -> int:
    return sum(stack.parameters for stack in stacks)

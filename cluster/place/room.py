"""The room that a node has left while actors are given to it, and in words what is missing.

Invariants: pure but for `take`; a share of a GPU is of one GPU, whole ones are free ones; nothing is given out twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.place.nodes import Node

Role = Literal["keeper", "validator", "host", "gateway"]

MOST_NAMED = 8
"""Nodes that a sentence names."""

_GRAIN = 1e-4
"""Ray counts resources to four digits."""


@dataclass(frozen=True)
class Wanted:
    """An actor that is to run.

    Attributes:
        stake: of a validator, in any unit.
        gpus: all on one node; below 1 a share of one GPU.
        memory_bytes: that it reserves.
    """

    name: str
    role: Role
    stake: int = 0
    gpus: float = 0.0
    memory_bytes: int = 0


class Room:
    """A node and what is left of it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.stake = 0
        self.hosts = 0
        self.free_bytes = node.memory_bytes
        self._free = [1.0] * int(node.gpus)

    @property
    def free_gpus(self) -> float:
        """GPUs that nobody was given, shares of them among them."""
        return sum(self._free)

    @property
    def load(self) -> float:
        """Hosts by CPU."""
        return self.hosts / self.node.cpus if self.node.cpus else float("inf")

    def load_with(self, one: Wanted) -> float:
        """How full it would be with one host more: of its GPUs where it asks for some, else hosts by CPU."""
        if one.gpus:
            return (self.node.gpus - self.free_gpus + one.gpus) / self.node.gpus
        return (self.hosts + 1) / self.node.cpus

    def fits(self, one: Wanted) -> bool:
        """Whether an actor may and can be here."""
        if one.role == "keeper":
            return not self.node.preemptible
        if one.role != "gateway" and not self.node.cpus:
            return False
        return one.memory_bytes <= self.free_bytes and (not one.gpus or len(self._gpus_for(one.gpus)) > 0)

    def take(self, one: Wanted) -> None:
        """Give an actor what it asks for, as far as it is there."""
        self.stake += one.stake
        self.hosts += one.role == "host"
        self.free_bytes -= one.memory_bytes
        for gpu in self._gpus_for(one.gpus) if one.gpus else ():
            self._free[gpu] = max(0.0, self._free[gpu] - min(1.0, one.gpus))

    def _gpus_for(self, gpus: float) -> list[int]:
        """The GPUs that so many would be taken from, the fullest first for a share; none where they are not free."""
        if gpus < 1:
            fitting = [at for at, free in enumerate(self._free) if free + _GRAIN >= gpus]
            return sorted(fitting, key=lambda at: (self._free[at], at))[:1]
        whole = [at for at, free in enumerate(self._free) if free + _GRAIN >= 1]
        return whole[: int(gpus)] if len(whole) >= gpus else []


def shortages(missing: Sequence[Wanted], rooms: Sequence[Room]) -> tuple[str, ...]:
    """What is missing for whom, a sentence for each kind of need.

    Args:
        missing: who has no room.
        rooms: the nodes, with all that was given out taken.
    """
    alike: dict[tuple[Role, float, int], list[str]] = {}
    for one in missing:
        alike.setdefault((one.role, one.gpus, one.memory_bytes), []).append(one.name)
    return tuple(
        _shortage(names, Wanted(names[0], role, gpus=gpus, memory_bytes=memory_bytes), rooms)
        for (role, gpus, memory_bytes), names in alike.items()
    )


def _shortage(names: Sequence[str], one: Wanted, rooms: Sequence[Room]) -> str:
    who = f"{', '.join(names)} need{'s' if len(names) == 1 else ''}"
    if not rooms:
        return f"{who} a node, and the cluster has none"
    if one.role == "keeper":
        return (
            f"{who} a node that is not preemptible (label ray.io/market-type=spot), and all {len(rooms)} are: add one"
        )
    if not any(room.node.cpus for room in rooms):
        return f"{who} a node with CPUs, and none of {len(rooms)} has any: add worker nodes"
    each = " each" if len(names) > 1 else ""
    parts, has = [], []
    if one.gpus:
        parts.append(f"{one.gpus:g} GPU{'s' if one.gpus > 1 else ''}{each}")
    if one.memory_bytes:
        parts.append(f"{one.memory_bytes >> 20:,} MiB of memory{each}")
    for room in rooms[:MOST_NAMED]:
        left = [f"{room.free_gpus:g} of {room.node.gpus:g} GPUs"] if one.gpus else []
        left += (
            [f"{max(0, room.free_bytes) >> 20:,} of {room.node.memory_bytes >> 20:,} MiB"] if one.memory_bytes else []
        )
        has.append(f"{room.node.name} {' and '.join(left)}")
    more = f" and {len(rooms) - MOST_NAMED} nodes more" if len(rooms) > MOST_NAMED else ""
    return f"{who} {' and '.join(parts)} on one node; free are on {', '.join(has)}{more}"

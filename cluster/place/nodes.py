"""The nodes of a cluster, as Ray tells of them.

Invariants: a node is one that is alive now; what it has is what it was started with, not what is free; names differ.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from actors.seam import MARKET, SPOT

HEAD = "node:__internal_head__"
"""The resource by which Ray marks the node that its control service runs on."""


@dataclass(frozen=True)
class Node:
    """A machine, or a part of one, that Ray starts actors on.

    Attributes:
        id: as Ray names it, hexadecimal; another one each time that its Ray is started.
        name: for people.
        cpus: 0: a head that is kept free, on which no host and no validator is placed.
        memory_bytes: that actors may reserve.
        preemptible: whether its label `ray.io/market-type` says that it may be taken away at any time.
        head: whether the whole cluster ends with it.
    """

    id: str
    name: str
    address: str
    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    preemptible: bool = False
    head: bool = False


def read_nodes() -> tuple[Node, ...]:
    """The nodes that are alive, by id."""
    return as_nodes(ray.nodes())  # type: ignore[no-untyped-call]  # Ray types none of it


def as_nodes(described: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Ray's descriptions of its nodes, the dead left out."""
    alive = sorted((one for one in described if one["Alive"]), key=lambda one: one["NodeID"])
    shared = Counter(_name(one) for one in alive)
    return tuple(
        Node(
            id=one["NodeID"],
            name=_name(one) if shared[_name(one)] == 1 else f"{_name(one)}/{one['NodeID'][:6]}",
            address=one["NodeManagerAddress"],
            cpus=one["Resources"].get("CPU", 0.0),
            gpus=one["Resources"].get("GPU", 0.0),
            memory_bytes=int(one["Resources"].get("memory", 0)),
            labels=dict(one.get("Labels") or {}),
            preemptible=(one.get("Labels") or {}).get(MARKET) == SPOT,
            head=HEAD in one["Resources"],
        )
        for one in alive
    )


def _name(described: Mapping[str, Any]) -> str:
    """The name that the node was given, else its machine's."""
    given = described.get("NodeName") or ""
    machine: str = described.get("NodeManagerHostname") or described["NodeManagerAddress"]
    return given if given and given != described["NodeManagerAddress"] else machine

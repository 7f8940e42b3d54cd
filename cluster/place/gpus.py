"""Whether hosts find the GPUs that they ask for: said when one did not start, for Ray itself waits without a word.

Invariants: pure; a host's GPUs are all on one node.
"""

import math
from collections.abc import Sequence

from cluster.config import Placement


def hosts_with_room(gpus_per_host: float, node_gpus: Sequence[float]) -> int:
    """How many hosts find their GPUs on nodes with so many: several share a GPU only where each asks for less than one.

    `gpus_per_host`: above 0.
    """
    if gpus_per_host < 1:
        return sum(int(gpus) * math.floor(1 / gpus_per_host) for gpus in node_gpus)
    return sum(int(gpus // gpus_per_host) for gpus in node_gpus)


def missing_gpus(placement: Placement, node_gpus: Sequence[float], validators: int = 0) -> str:
    """What the cluster lacks and what to do, as a sentence; empty where there is room for all hosts and validators."""
    wanted, share = placement.gpus_per_host, placement.gpus_per_validator
    there = ", ".join(f"{gpus:g}" for gpus in node_gpus) or "none"
    if not wanted or (room := hosts_with_room(wanted, node_gpus)) >= placement.hosts:
        if placement.hosts * wanted + validators * share <= sum(node_gpus):
            return ""
        return (
            f"{placement.hosts} hosts ask for {wanted:g} GPUs each and {validators} validators for {share:g}, nodes "
            f"have {there}: add GPUs, or lower placement.gpus_per_validator"
        )
    return (
        f"{placement.hosts} hosts ask for {wanted:g} GPUs each, all on one node, and nodes with {there} GPUs have room "
        f"for {room}: add GPUs, or lower placement.hosts or placement.gpus_per_host"
    )

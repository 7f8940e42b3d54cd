"""What is reserved of a cluster before it is used: bundles for hosts, and the hint that more nodes are wanted.

Invariants: a bundle is on one node, bundles are spread over nodes; nothing is waited for without a deadline; what was
reserved here is given back here, and has no name, so that two networks never clash.
"""

import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from actors.seam import Place
from cluster.place.room import Wanted

TRY_S = 5.0
"""How long all bundles may take to be reserved before fewer are asked for; free ones take milliseconds."""


LOOK_S = 0.5
"""Between two looks at what is free while nothing is."""


class Reservation:
    """The bundles that a network's hosts hold."""

    def __init__(self) -> None:
        self._groups: list[PlacementGroup] = []

    def take(self, alike: Sequence[Wanted], deadline_s: float) -> list[Place]:
        """A bundle for each of some hosts that ask for the same, or for as many as there are free ones.

        Returns:
            the places of the first of them.
        """
        end = time.monotonic() + deadline_s
        bundle = _resources(alike[0])
        count = len(alike)
        while True:
            if count:
                group = placement_group([bundle] * count, strategy="SPREAD")
                if group.wait(max(0.1, min(TRY_S, end - time.monotonic()))):
                    self._groups.append(group)
                    return [Place(bundle=(group, index)) for index in range(count)]
                remove_placement_group(group)
            else:
                time.sleep(LOOK_S)
            if time.monotonic() >= end:
                return []
            free = ray.available_resources()  # type: ignore[no-untyped-call]  # Ray types none of it
            held = min(int(free.get(kind, 0.0) / amount + 1e-6) for kind, amount in bundle.items())
            count = min(max(count - 1, 0) or len(alike), held)

    def release(self) -> None:
        """Give all bundles back; what runs in them ends."""
        for group in self._groups:
            remove_placement_group(group)
        self._groups.clear()


def reserves(one: Wanted) -> bool:
    """Whether an actor's resources are reserved before it is started."""
    return one.role == "host" and bool(one.gpus or one.memory_bytes)


def ask_for_nodes(wanted: Sequence[Wanted], threads: int) -> None:
    """Tell the cluster's autoscaler, where it has one, what has to have room; nobody: the hint is taken back.

    Who asks for no GPU and no memory is counted by its CPUs, for else no node would ever come for it.
    """
    request_resources(bundles=[_resources(one) or {"CPU": threads} for one in wanted])


def _resources(one: Wanted) -> dict[str, Any]:
    needs = {"GPU": one.gpus, "memory": one.memory_bytes}
    return {kind: amount for kind, amount in needs.items() if amount}

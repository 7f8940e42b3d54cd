"""Which node each actor is to run on: a pure plan, and what is missing where there is no room.

Invariants:
* it depends on nothing but its arguments: the same nodes, actors and places give the same plan;
* validators are spread by stake, so that no node carries a third of it where the nodes suffice: with such a node no
  block would be final until its validators have started elsewhere;
* the keeper is never on a node that may be taken away at any time, and away from the one with most stake;
* hosts and validators are on nodes that have CPUs; the GPUs and the memory of one are all on one node;
* moves make the most loaded node lighter and no other as loaded, so they end.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cluster.place.nodes import Node
from cluster.place.room import Role, Room, Wanted, shortages


@dataclass(frozen=True)
class Spread:
    """A plan.

    Attributes:
        nodes: for each actor that has room its node's id.
        missing: who has none, in the order wanted.
        sentences: what is missing for them.
    """

    nodes: Mapping[str, str]
    missing: tuple[Wanted, ...] = ()
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """An actor that is to run on another node, and why."""

    name: str
    node: str
    sentence: str


def spread(wanted: Sequence[Wanted], nodes: Sequence[Node], placed: Mapping[str, str] | None = None) -> Spread:
    """Find a node for each actor.

    Args:
        wanted: all actors of the network, each once.
        placed: where some of them are already: they stay.
    """
    plans = [_fill(wanted, nodes, placed or {}, first) for first in ("validator", "host")]
    return min(plans, key=lambda plan: (sum(one.role != "host" for one in plan.missing), len(plan.missing)))


def next_move(wanted: Sequence[Wanted], nodes: Sequence[Node], placed: Mapping[str, str]) -> Move | None:
    """The one move that helps most, where what runs is badly spread; None where it is not.

    Args:
        wanted: all actors of the network; those that reserve GPUs or memory stay where these are reserved.
        placed: where they run, as far as that is known; who runs nowhere is Ray's to start.
    """
    here = [one for one in wanted if placed.get(one.name) in {node.id for node in nodes}]
    return _move_stake(here, nodes, placed) or _move_host(here, nodes, placed)


def stake_shares(wanted: Sequence[Wanted], placed: Mapping[str, str]) -> dict[str, float]:
    """The share of all stake that each node with validators carries, by id."""
    total = sum(one.stake for one in wanted) or 1
    carried: dict[str, int] = {}
    for one in wanted:
        if one.stake and one.name in placed:
            carried[placed[one.name]] = carried.get(placed[one.name], 0) + one.stake
    return {node: stake / total for node, stake in carried.items()}


def _fill(wanted: Sequence[Wanted], nodes: Sequence[Node], placed: Mapping[str, str], first: Role) -> Spread:
    """Give each its node, validators or hosts first, the keeper after them."""
    rooms = {node.id: Room(node) for node in nodes}
    found = {one.name: placed[one.name] for one in wanted if placed.get(one.name) in rooms}
    for one in wanted:
        if one.name in found:
            rooms[found[one.name]].take(one)
    order = ("validator", "host") if first == "validator" else ("host", "validator")
    lacking = set()
    for role in (*order, "keeper", "gateway"):
        own = [one for one in wanted if one.role == role and one.name not in found]
        for one in sorted(own, key=lambda one: -one.stake):
            fitting = [room for room in rooms.values() if room.fits(one)]
            if not fitting:
                lacking.add(one.name)
                continue
            best = min(fitting, key=partial(_preference, one))
            best.take(one)
            found[one.name] = best.node.id
    missing = tuple(one for one in wanted if one.name in lacking)
    return Spread(found, missing, shortages(missing, tuple(rooms.values())))


def _preference(one: Wanted, room: Room) -> tuple[float | str, ...]:
    """What makes a node better for an actor: the smallest wins."""
    node = room.node
    if one.role == "validator":
        return (room.stake, room.load, node.preemptible, node.id)
    if one.role == "host":
        return (room.load_with(one), node.id)
    if one.role == "keeper":
        return (node.cpus == 0, room.stake, not node.head, room.load, node.id)
    return (node.cpus == 0, node.preemptible, not node.head, node.id)


def _move_stake(here: Sequence[Wanted], nodes: Sequence[Node], placed: Mapping[str, str]) -> Move | None:
    validators = [one for one in here if one.stake]
    carried = {node.id: 0 for node in nodes if node.cpus}
    for one in validators:
        carried[placed[one.name]] = carried.get(placed[one.name], 0) + one.stake
    top = max(carried, key=lambda node: (carried[node], node), default="")
    if not top or 3 * carried[top] < sum(carried.values()):
        return None
    usable = [node for node in nodes if node.cpus]
    moves = [
        (max(carried[top] - one.stake, carried[node.id] + one.stake), one.stake, one.name, node.id)
        for one in validators
        for node in usable
        if placed[one.name] == top
        and node.id != top
        and carried[node.id] + one.stake < carried[top]
        and _has_room(one, node, here, placed)
    ]
    if not moves:
        return None
    _, _, name, target = min(moves)
    share = 100 * carried[top] / sum(carried.values())
    return Move(name, target, f"{_name(top, nodes)} carries {share:.0f} % of the stake")


def _move_host(here: Sequence[Wanted], nodes: Sequence[Node], placed: Mapping[str, str]) -> Move | None:
    hosts = [one for one in here if one.role == "host" and not one.gpus and not one.memory_bytes]
    usable = {node.id: node for node in nodes if node.cpus}
    counts = dict.fromkeys(usable, 0)
    for one in hosts:
        counts[placed[one.name]] = counts.get(placed[one.name], 0) + 1
    load = {node: count / usable[node].cpus if node in usable else float("inf") for node, count in counts.items()}
    top = max((node for node in counts if counts[node]), key=lambda node: (load[node], node), default="")
    targets = [(counts[node] + 1) / usable[node].cpus for node in usable if node != top]
    if not top or not targets or min(targets) >= load[top]:
        return None
    target = min(
        (node for node in usable if node != top), key=lambda node: ((counts[node] + 1) / usable[node].cpus, node)
    )
    name = max(one.name for one in hosts if placed[one.name] == top)
    return Move(name, target, f"{_name(top, nodes)} has {counts[top]} hosts, {_name(target, nodes)} {counts[target]}")


def _has_room(one: Wanted, node: Node, here: Collection[Wanted], placed: Mapping[str, str]) -> bool:
    room = Room(node)
    for other in here:
        if placed[other.name] == node.id:
            room.take(other)
    return room.fits(one)


def _name(node_id: str, nodes: Sequence[Node]) -> str:
    return next((node.name for node in nodes if node.id == node_id), node_id)

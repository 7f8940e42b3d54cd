"""Tending to the crew between epochs: nodes come and go, and the actors are placed anew.

Invariants: who was lost with its node is started elsewhere by Ray, not here; hosts that had no room are started when
there is some; of those that are badly spread one is moved an epoch, for what it holds has to be fetched again; on one
node with all hosts there is nothing to do, and nobody is asked.
"""

import time
from collections.abc import Mapping

import ray
from ray.exceptions import RayError

from actors.seam import Handle
from cluster.calls import ask_each
from cluster.place.crew import CLOSE_S, Crew
from cluster.place.ground import Ground
from cluster.place.nodes import Node
from cluster.place.reserve import reserves
from cluster.place.room import Wanted
from cluster.place.spread import Move, next_move, spread
from cluster.show import Progress

LOOK_S = 3.0
"""How long actors may take to say where they are. Who is silent has just died, or is frozen: it is not moved."""

RESERVE_S = 10.0
"""How long bundles may take to be reserved between two epochs."""


def tend(crew: Crew, stakes: Mapping[str, int], show: Progress, *, deadline_s: float) -> None:
    """Look at the nodes, tell who came and went, start what has room now, and move at most one actor.

    Args:
        stakes: validators' stakes by name, in any unit; who is not among them keeps what it began with.
        deadline_s: how long an actor that is moved may take to answer.
    """
    ground = crew.ground
    if ground is None:
        return
    before, nodes = ground.nodes, ground.look()
    _tell_changes(before, nodes, show)
    hosts = sum(one.role == "host" for one in ground.wanted)
    if len(nodes) == 1 and nodes == before and crew.hosts == hosts:
        return
    placed = locate(crew.everyone())
    wanted = [_with_stake(one, stakes) for one in ground.wanted]
    _start_missing(crew, ground, wanted, placed, show)
    move = next_move([one for one in wanted if not reserves(one)], nodes, placed)
    if move is not None:
        _carry_out(crew, ground, move, show, deadline_s)


def locate(handles: Mapping[str, Handle]) -> dict[str, str]:
    """The node of each actor that answers, by name."""
    asked = {handle.node.remote(): name for name, handle in handles.items()}
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_S)
    found = {}
    for reference in ready:
        try:
            found[asked[reference]] = ray.get(reference, timeout=LOOK_S)
        except RayError:
            continue
    for reference in late:
        ray.cancel(reference, force=False)
    return found


def _start_missing(crew: Crew, ground: Ground, wanted: list[Wanted], placed: Mapping[str, str], show: Progress) -> None:
    """Start the hosts that had no room so far, where there is some; tell what is missing for the others, and for those
    that lost their node and found no other.
    """
    plan = spread(wanted, ground.nodes, placed)
    idle = [one.name for one in wanted if one.role == "host" and one.name not in crew.pool.hosts]
    roomy = [name for name in idle if name in plan.nodes]
    started = ground.start_hosts(roomy, plan.nodes, RESERVE_S)
    for name, handle in started.items():
        crew.pool.put(name, handle)
    if started:
        show.note(f"{', '.join(started)} found room: {crew.hosts} hosts now")
    silent = [one for one in plan.missing if one.name not in started]
    ground.lacking(plan.sentences if silent else (), silent)


def _carry_out(crew: Crew, ground: Ground, move: Move, show: Progress, deadline_s: float) -> None:
    """End an actor and start it on the node that the move names."""
    one = next(one for one in ground.wanted if one.name == move.name)
    place = ground.place(one, move.node)
    node = next(node.name for node in ground.nodes if node.id == move.node)
    began = time.monotonic()
    if one.role == "host":
        ray.kill(crew.pool.hosts[one.name])
        crew.pool.put(one.name, ground.starter.host(one.name, place))
    else:
        old = {one.name: crew.validators[one.name]}
        ask_each(old, lambda name, handle: handle.close.remote(), deadline_s=CLOSE_S)
        ray.kill(old[one.name])
        crew.validators[one.name] = ground.starter.validator(one.name, place)
        new = {one.name: crew.validators[one.name]}
        _, failures = ask_each(new, lambda name, handle: handle.ping.remote(), deadline_s=deadline_s)
        for name, why in failures.items():
            show.note(f"{name} was moved and does not answer: {why}")
    show.note(f"{move.sentence}: {one.name} moves to {node} ({time.monotonic() - began:.1f} s)")


def _tell_changes(before: tuple[Node, ...], nodes: tuple[Node, ...], show: Progress) -> None:
    left, stay = {node.id for node in before}, {node.id for node in nodes}
    for node in before:
        if node.id not in stay:
            show.note(f"node {node.name} ({node.address}) is gone")
    for node in nodes:
        if node.id not in left:
            show.note(f"node {node.name} ({node.address}) came: {node.cpus:g} CPUs, {node.gpus:g} GPUs")


def _with_stake(one: Wanted, stakes: Mapping[str, int]) -> Wanted:
    stake = stakes.get(one.name, 0) if one.role == "validator" else 0
    return Wanted(one.name, one.role, stake or one.stake, one.gpus, one.memory_bytes)

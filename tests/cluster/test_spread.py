"""The plan over nodes: who goes where, what moves, and what is said where there is no room."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import load_network
from cluster.place.ground import can_run, wanted_actors
from cluster.place.nodes import Node, as_nodes
from cluster.place.room import Wanted
from cluster.place.spread import Move, next_move, spread, stake_shares

KEEPER = Wanted("keeper", "keeper")


def _node(name: str, cpus: float = 4, gpus: float = 0, *, preemptible: bool = False, head: bool = False) -> Node:
    return Node(name, name, f"10.0.0.{name[1:]}", cpus, gpus, 8 << 30, {}, preemptible, head)


def _hosts(count: int, gpus: float = 0, memory_bytes: int = 0) -> list[Wanted]:
    return [Wanted(f"host-{number}", "host", gpus=gpus, memory_bytes=memory_bytes) for number in range(count)]


def _validators(*stakes: int, gpus: float = 0) -> list[Wanted]:
    return [Wanted(f"v{number}", "validator", stake, gpus) for number, stake in enumerate(stakes)]


@st.composite
def _clusters(draw: st.DrawFn) -> tuple[list[Wanted], list[Node]]:
    """Nodes with and without CPUs and GPUs, and a network, which may have no room on them."""
    nodes = [
        _node(
            f"n{number}",
            draw(st.sampled_from([0, 1, 2, 8])),
            draw(st.sampled_from([0, 0, 1, 2])),
            preemptible=draw(st.booleans()),
            head=number == 0,
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    validators = _validators(*draw(st.lists(st.integers(1, 100), min_size=1, max_size=8)))
    hosts = _hosts(draw(st.integers(1, 8)), draw(st.sampled_from([0, 0, 0.3, 0.5, 1, 2])))
    return [KEEPER, *validators, *hosts], nodes


@given(_clusters())
def test_a_plan_gives_nothing_out_twice_and_names_who_has_no_room(case: tuple[list[Wanted], list[Node]]) -> None:
    wanted, nodes = case
    plan = spread(wanted, nodes)
    by_id = {node.id: node for node in nodes}
    assert {*plan.nodes, *(one.name for one in plan.missing)} == {one.name for one in wanted}
    assert bool(plan.missing) == bool(plan.sentences)
    for one in plan.missing:
        assert any(one.name in sentence for sentence in plan.sentences)
    for one in wanted:
        if one.name in plan.nodes:
            node = by_id[plan.nodes[one.name]]
            assert not (one.role == "keeper" and node.preemptible)
            assert one.role == "keeper" or node.cpus
    for node in nodes:
        assert sum(one.gpus for one in wanted if plan.nodes.get(one.name) == node.id) <= node.gpus + 1e-9
    assert plan == spread(wanted, nodes)


@given(_clusters(), st.randoms(use_true_random=False))
def test_a_fresh_plan_needs_no_move_and_any_other_comes_to_rest(
    case: tuple[list[Wanted], list[Node]], random: Random
) -> None:
    wanted, nodes = case
    wanted = [Wanted(one.name, one.role, one.stake) for one in wanted]
    plan = spread(wanted, nodes)
    assert next_move(wanted, nodes, plan.nodes) is None
    placed = {name: random.choice(nodes).id for name in plan.nodes}
    least = max(stake_shares(wanted, plan.nodes).values(), default=0)
    for _ in range(200):
        move = next_move(wanted, nodes, placed)
        if move is None:
            break
        assert next(node for node in nodes if node.id == move.node).cpus
        placed[move.name] = move.node
    assert next_move(wanted, nodes, placed) is None
    usable = {node.id for node in nodes if node.cpus}
    if usable and least * 3 < 1:
        shares = stake_shares(wanted, placed)
        assert max(shares.values()) * 3 < 2, "no node carries so much that the others could not go on soon"


def test_no_node_carries_a_third_where_nodes_suffice() -> None:
    nodes = [_node(f"n{number}") for number in range(4)]
    plan = spread([KEEPER, *_validators(25, 25, 20, 20, 10)], nodes)
    assert max(stake_shares(_validators(25, 25, 20, 20, 10), plan.nodes).values()) * 3 < 1
    assert stake_shares(_validators(25, 25, 20, 20, 10), plan.nodes)[plan.nodes["keeper"]] <= 0.25


def test_the_keeper_is_never_on_a_preemptible_node() -> None:
    spot = [_node("n1", preemptible=True), _node("n2", preemptible=True)]
    plan = spread([KEEPER, *_validators(1, 1)], spot)
    assert plan.missing == (KEEPER,)
    assert "not preemptible" in plan.sentences[0]
    assert spread([KEEPER, *_validators(1, 1)], [*spot, _node("n0", cpus=0, head=True)]).nodes["keeper"] == "n0"


def test_the_keeper_is_away_from_most_stake() -> None:
    plan = spread([KEEPER, *_validators(40, 35, 25)], [_node("n0", head=True), _node("n1"), _node("n2")])
    assert plan.nodes["keeper"] == plan.nodes["v2"]


def test_nobody_works_on_a_head_that_is_kept_free() -> None:
    wanted = [KEEPER, *_validators(1, 1), *_hosts(2)]
    plan = spread(wanted, [_node("n0", cpus=0, head=True), _node("n1", cpus=1)])
    assert set(plan.nodes.values()) == {"n1"}
    alone = spread(wanted, [_node("n0", cpus=0, head=True)])
    assert plan.nodes["keeper"] == "n1"
    assert alone.nodes == {"keeper": "n0"}
    assert "with CPUs" in alone.sentences[0]


def test_hosts_are_spread_by_cpus_and_gpus() -> None:
    plan = spread(_hosts(6), [_node("n0", cpus=2), _node("n1", cpus=4)])
    assert sorted(plan.nodes.values()) == ["n0", "n0", "n1", "n1", "n1", "n1"]
    plan = spread(_hosts(3, gpus=2), [_node("n0", gpus=2), _node("n1", gpus=5)])
    assert sorted(plan.nodes.values()) == ["n0", "n1", "n1"]


def test_what_is_missing_is_named_node_by_node() -> None:
    plan = spread(_hosts(3, gpus=2), [_node("n0", gpus=3), _node("n1", gpus=1)])
    assert [one.name for one in plan.missing] == ["host-1", "host-2"]
    assert plan.sentences == (
        "host-1, host-2 need 2 GPUs each on one node; free are on n0 1 of 3 GPUs, n1 1 of 1 GPUs",
    )
    plan = spread(_hosts(1, memory_bytes=9 << 30), [_node("n0")])
    assert plan.sentences == ("host-0 needs 9,216 MiB of memory on one node; free are on n0 8,192 of 8,192 MiB",)


@pytest.mark.parametrize("first", [True, False])
def test_validators_share_what_hosts_leave(first: bool) -> None:
    nodes = [_node("n0", gpus=2), _node("n1", gpus=1)]
    wanted = [*_hosts(1, gpus=2), *_validators(1, 1, gpus=0.5)]
    plan = spread(wanted if first else wanted[::-1], nodes)
    assert not plan.missing
    assert plan.nodes == {"host-0": "n0", "v0": "n1", "v1": "n1"}


def test_a_share_of_a_gpu_is_of_one() -> None:
    plan = spread([*_hosts(2, gpus=0.6), *_validators(1, 1, gpus=0.5)], [_node("n0", gpus=2)])
    assert [one.name for one in plan.missing] == ["host-1"], "0.4 and 0.5 of two GPUs are not 0.6 of one"


def test_moves_follow_nodes_that_come_back() -> None:
    wanted = [KEEPER, *_validators(40, 35, 25), *_hosts(2)]
    one, two, three = _node("n0"), _node("n1"), _node("n2")
    placed = spread(wanted, [one, two, three]).nodes
    lost = {name: "n0" if node == "n2" else node for name, node in placed.items()}
    steps = [lost]
    while (move := next_move(wanted, [one, two, three], steps[-1])) is not None:
        steps.append({**steps[-1], move.name: move.node})
    moved = [{name for name in before if before[name] != after[name]} for before, after in pairwise(steps)]
    assert all(len(names) == 1 for names in moved)
    assert 1 <= len(moved) <= 2
    assert sorted(stake_shares(wanted, steps[-1]).values()) == [0.25, 0.35, 0.4]


def test_what_runs_nowhere_is_not_moved_and_gpus_stay_reserved() -> None:
    nodes = [_node("n0", gpus=4), _node("n1", gpus=4)]
    assert next_move([*_hosts(2, gpus=1)], nodes, {"host-0": "n0", "host-1": "n0"}) is None
    assert next_move([*_hosts(2)], nodes, {"host-0": "n0"}) is None
    assert next_move([*_hosts(2)], nodes, {"host-0": "n0", "host-1": "n0"}) == Move(
        "host-1", "n1", "n0 has 2 hosts, n1 0"
    )


def test_a_network_asks_for_what_its_configuration_says(tiny_toml: Path) -> None:
    network = load_network(tiny_toml, ["placement.gpus_per_host=0.5", "placement.memory_mib=100"])
    wanted = {one.name: one for one in wanted_actors(network, gateway=True)}
    assert set(wanted) == {"keeper", "vera", "victor", "viola", "host-0", "host-1", "gateway"}
    assert (wanted["host-1"].gpus, wanted["host-1"].memory_bytes, wanted["vera"].stake) == (0.5, 100 << 20, 40)
    everyone = tuple(wanted.values())
    assert can_run(everyone, spread(everyone, [_node("n0", gpus=1)]))
    assert not can_run(everyone, spread(everyone, [_node("n1")])), "a network without hosts answers nothing"
    assert not can_run(everyone, spread(everyone, []))


def test_nodes_are_those_that_live_and_names_differ() -> None:
    described = [
        {
            "NodeID": letter * 56,
            "Alive": letter != "c",
            "NodeName": "10.0.0.1",
            "NodeManagerHostname": "machine",
            "NodeManagerAddress": "10.0.0.1",
            "Resources": {"CPU": 2.0, "memory": 5e9, **({"node:__internal_head__": 1.0} if letter == "a" else {})},
            "Labels": {"ray.io/market-type": "spot"} if letter == "b" else {},
        }
        for letter in "bca"
    ]
    first, second = as_nodes(described)
    assert (first.name, first.head, first.preemptible) == ("machine/aaaaaa", True, False)
    assert (second.name, second.head, second.preemptible) == ("machine/bbbbbb", False, True)
    assert (first.cpus, first.gpus, first.memory_bytes) == (2.0, 0.0, 5 * 10**9)

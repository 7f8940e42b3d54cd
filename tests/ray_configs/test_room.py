"""The networks that are shipped have room on the clusters that are shipped, placed as docs/cluster.md says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config import load_network
from cluster.place.ground import can_run, wanted_actors
from cluster.place.nodes import Node, as_nodes
from cluster.place.spread import spread, stake_shares

FOLDER = Path(__file__).parents[2] / "ray_configs"
MULTI = wanted_actors(load_network(FOLDER / "multi_node.toml"), gateway=False)


def described(name: str, cpus: float, gpus: float, labels: Mapping[str, str], *, head: bool = False) -> dict[str, Any]:
    """A node as Ray describes it."""
    resources = {"CPU": cpus, "GPU": gpus} | ({"node:__internal_head__": 1.0} if head else {})
    return {
        "NodeID": name,
        "Alive": True,
        "NodeManagerAddress": name,
        "NodeManagerHostname": name,
        "Resources": {kind: amount for kind, amount in resources.items() if amount},
        "Labels": dict(labels),
    }


def kubernetes(size: str) -> tuple[Node, ...]:
    """The Ray nodes of the Kubernetes file, each group at this size."""
    spec = yaml.safe_load((FOLDER / "kuberay" / "cluster.yaml").read_text(encoding="utf-8"))["spec"]
    head = spec["headGroupSpec"]
    nodes = [described("head", float(head["rayStartParams"]["num-cpus"]), 0, head["labels"], head=True)]
    for group in spec["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        gpus = float(limits.get("nvidia.com/gpu", 0))
        nodes += [
            described(f"{group['groupName']}-{index}", float(limits["cpu"]), gpus, group["labels"])
            for index in range(group[size])
        ]
    return as_nodes(nodes)


def test_on_kubernetes_it_asks_for_gpus_and_begins_when_they_are_there() -> None:
    assert not can_run(MULTI, spread(MULTI, kubernetes("minReplicas")))
    plan = spread(MULTI, kubernetes("maxReplicas"))
    assert plan.missing == ()
    assert not plan.nodes["keeper"].startswith(("gpu-spot", "head"))
    assert "head" not in {node for name, node in plan.nodes.items() if name != "keeper"}
    assert max(stake_shares(MULTI, plan.nodes).values()) < 1 / 3
    validators = [plan.nodes[one.name] for one in MULTI if one.role == "validator"]
    assert not any(node.startswith("gpu-spot") for node in validators)


@pytest.mark.parametrize("nodes", range(4, 9))
def test_on_four_machines_or_more_none_carries_a_third_of_the_stake(nodes: int) -> None:
    plan = spread(MULTI, as_nodes([described(f"node-{index}", 8, 1, {}, head=not index) for index in range(nodes)]))
    assert plan.missing == ()
    assert max(stake_shares(MULTI, plan.nodes).values()) < 1 / 3


def test_on_three_machines_it_runs_with_three_hosts() -> None:
    plan = spread(MULTI, as_nodes([described(f"node-{index}", 8, 1, {}, head=not index) for index in range(3)]))
    assert [one.role for one in plan.missing] == ["host"]
    assert can_run(MULTI, plan)


@pytest.mark.parametrize(("gpus", "fits"), [(4, True), (3, False)])
def test_one_machine_with_four_gpus_is_what_gpu_node_is_for(gpus: int, fits: bool) -> None:
    wanted = wanted_actors(load_network(FOLDER / "gpu_node.toml"), gateway=False)
    plan = spread(wanted, as_nodes([described("machine", 32, gpus, {}, head=True)]))
    assert (plan.missing == ()) == fits

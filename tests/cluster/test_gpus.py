"""Hosts that ask for GPUs: who gets several gets them on one node, and what is missing is named."""

import os
from pathlib import Path

import pytest
import ray

from actors.host import HostSettings
from actors.seam import start_actor
from cluster.config import Placement, load_network
from cluster.errors import ClusterError
from cluster.founding import find_genesis
from cluster.home import Home
from cluster.place.crew import start_crew
from cluster.place.gpus import hosts_with_room, missing_gpus


@pytest.mark.parametrize(
    ("gpus_per_host", "node_gpus", "room"),
    [(1, [2, 1], 3), (2, [2, 3, 1], 2), (0.5, [1, 2], 6), (0.4, [1], 2), (4, [2, 2], 0), (1, [], 0), (8, [8], 1)],
)
def test_a_hosts_gpus_are_on_one_node(gpus_per_host: float, node_gpus: list[float], room: int) -> None:
    assert hosts_with_room(gpus_per_host, node_gpus) == room
    placed = Placement(hosts=room + 1, gpus_per_host=gpus_per_host)
    assert f"room for {room}" in missing_gpus(placed, node_gpus)
    if room:
        assert missing_gpus(Placement(hosts=room, gpus_per_host=gpus_per_host), node_gpus) == ""


def test_hosts_without_gpus_lack_none() -> None:
    assert missing_gpus(Placement(hosts=9), [0.0]) == ""


def test_validators_find_what_hosts_leave() -> None:
    placed = Placement(hosts=2, gpus_per_host=0.25, gpus_per_validator=0.25)
    assert missing_gpus(placed, [1.0], validators=2) == ""
    assert "3 validators for 0.25" in missing_gpus(placed, [1.0], validators=3)
    assert "nodes have none" in missing_gpus(Placement(hosts=2, gpus_per_validator=1), [], validators=1)


class Told:
    """Stands where a host does, and says which GPUs its process was given."""

    def __init__(self, settings: HostSettings | None) -> None:
        self.settings = settings

    def ping(self) -> str:
        """The GPUs by number."""
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.cluster
def test_a_host_gets_several_gpus_and_who_finds_none_is_told_at_the_deadline(tiny_toml: Path, home: Path) -> None:
    network = load_network(tiny_toml, ["placement.gpus_per_host=2", "placement.hosts=3", "deadlines.start_s=1.0"])
    genesis = find_genesis(network, Home(home))
    assert genesis is not None
    # By name: the machine has none, and Ray hands them out all the same.
    ray.init("local", namespace=genesis.hash.hex(), num_gpus=5, num_cpus=2, include_dashboard=False)
    try:
        hosts = [start_actor(Told, None, name=f"other-{number}", gpus=2) for number in range(2)]
        given = ray.get([host.ping.remote() for host in hosts], timeout=120)
        assert [len(numbers.split(",")) for numbers in given] == [2, 2]
        assert len({number for numbers in given for number in numbers.split(",")}) == 4
        with pytest.raises(ClusterError, match=r"host-2 \(.*3 hosts ask for 2 GPUs each.* 5 GPUs have room for 2"):
            start_crew(network, Home(home), genesis, host_class=Told)
    finally:
        ray.shutdown()

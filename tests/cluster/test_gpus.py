"""Hosts that reserve GPUs: who gets several gets them on one node, a network runs with those that have room, and the
others are started when there is some.
"""

import os
import time
from pathlib import Path

import pytest
import ray

from actors.host import HostSettings
from actors.seam import start_actor
from actors.validator import ValidatorSettings
from cluster.config import Network, load_network
from cluster.errors import ClusterError
from cluster.founding import find_genesis
from cluster.home import Home
from cluster.place.crew import Crew, end_crew, start_crew
from cluster.place.tending import tend
from cluster.show import Quiet


class Told:
    """Stands where a host or a validator does, and says which GPUs its process was given."""

    def __init__(self, settings: HostSettings | ValidatorSettings | None) -> None:
        self.settings = settings

    def ping(self) -> str:
        """The GPUs by number."""
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def close(self) -> None:
        """Nothing to give back."""


class Notes(Quiet):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)


@pytest.mark.cluster
def test_hosts_have_their_gpus_on_one_node_and_who_finds_none_joins_later(tiny_toml: Path, home: Path) -> None:
    asked = ["placement.gpus_per_host=2", "placement.hosts=3", "deadlines.start_s=240"]
    network = load_network(tiny_toml, asked)
    genesis = find_genesis(network, Home(home))
    assert genesis is not None
    # By name: the machine has none, and Ray hands them out all the same.
    ray.init("local", namespace=genesis.hash.hex(), num_gpus=6, num_cpus=2, include_dashboard=False)
    notes = Notes()
    try:
        with pytest.raises(
            ClusterError, match=r"no room .*host-2 need 7 GPUs each on one node; free are on .* 6 of 6 GPUs"
        ):
            _crew(load_network(tiny_toml, [*asked, "placement.gpus_per_host=7", "deadlines.start_s=0.2"]), home, notes)
        other = start_actor(Told, None, name="other", gpus=2)
        ray.get(other.ping.remote(), timeout=120)
        crew = _crew(network, home, notes)
        given = ray.get([host.ping.remote() for host in crew.pool.hosts.values()], timeout=120)
        assert [len(numbers.split(",")) for numbers in given] == [2, 2]
        assert len({number for numbers in given for number in numbers.split(",")}) == 4
        assert "runs with 2 of its 3 hosts" in notes.notes
        ray.kill(other)
        _wait_for_gpus(2)
        tend(crew, {}, notes, deadline_s=60)
        assert set(crew.pool.hosts) == {"host-0", "host-1", "host-2"}
        assert ray.get(crew.pool.hosts["host-2"].ping.remote(), timeout=120)
        end_crew(crew)
        _wait_for_gpus(6)
    finally:
        ray.shutdown()


def _crew(network: Network, home: Path, notes: Notes) -> Crew:
    genesis = find_genesis(network, Home(home))
    assert genesis is not None
    return start_crew(network, Home(home), genesis, host_class=Told, validator_class=Told, show=notes)


def _wait_for_gpus(gpus: int) -> None:
    """Wait until so many are free."""
    end = time.monotonic() + 60
    while ray.available_resources().get("GPU", 0) < gpus:
        assert time.monotonic() < end
        time.sleep(0.05)

"""Nodes that are killed and nodes that come, under a running network whose ledger is on the nodes' own disks."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import taoray
from benchmarks.kill_cohort import descendants, send_kill
from cluster.config import load_network
from cluster.driver import run_network
from cluster.founding import found
from cluster.home import Home
from cluster.report import EpochRecord
from cluster.show import Quiet
from ledger.store.mark import read_mark

pytestmark = pytest.mark.cluster

NOTICED = {"health_check_period_ms": 1000, "health_check_failure_threshold": 4, "health_check_initial_delay_ms": 0}
"""How soon the head takes a silent node for dead: 4 s instead of 17 s."""
STORE_BYTES = 80 << 20


class Machines:
    """A head that is kept free and workers with a disk each, which are killed as machines are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster()
        self.cluster.add_node(
            num_cpus=0, include_dashboard=False, object_store_memory=STORE_BYTES, _system_config=NOTICED
        )
        self.workers: dict[str, Any] = {}
        self.count = 0

    def add(self) -> None:
        """One worker more, with a new disk."""
        self.count += 1
        disk = self.folder / f"disk-{self.count}"
        disk.mkdir()
        node = self.cluster.add_node(
            num_cpus=1, num_gpus=0, object_store_memory=STORE_BYTES, env_vars={"TAORAY_DISK": str(disk)}
        )
        self.workers[node.node_id] = (node, disk)

    def kill(self, node_id: str) -> None:
        """Kill all processes of a worker at once, and lose its disk."""
        node, disk = self.workers.pop(node_id)
        raylet = node.all_processes["raylet"][0].process.pid
        for pid in (*descendants(raylet), raylet):
            send_kill(pid)
        self.cluster.remove_node(node, allow_graceful=False)
        shutil.rmtree(disk)


@pytest.fixture
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("nodes")
    machines = Machines(folder)
    try:
        machines.add()
        machines.add()
        yield machines
    finally:
        ray.shutdown()
        machines.cluster.shutdown()


class LosesNodes(Quiet):
    """Kills a node in the middle of the first epoch's questions, adds one after it, and kills the ledger's node when a
    block of the second epoch is committed and not yet final.
    """

    def __init__(self, machines: Machines, namespace: str) -> None:
        self.machines = machines
        self.namespace = namespace
        self.records: list[EpochRecord] = []
        self.notes: list[str] = []
        self.killed: list[str] = []
        self.asking = False
        self.closer: threading.Thread | None = None

    def step(self, sentence: str, total: int = 0) -> None:
        """Watch for the instants at which nodes are killed."""
        self.asking = sentence.startswith("asking") and not self.records
        if sentence == "committing the votes" and len(self.records) == 1:
            keeper = self._node_of("keeper")
            (chain,) = self.machines.workers[keeper][1].glob("*/keeper/chain.db")
            self.closer = threading.Thread(target=self._kill_after_block, args=(keeper, chain))
            self.closer.start()

    def advance(self, done: int) -> None:
        """Some answers are there, and lie on the node that is killed: the one that the ledger is not on."""
        if self.asking and done >= 2 and not self.killed:
            (other,) = set(self.machines.workers) - {self._node_of("keeper")}
            self._kill(other)

    def note(self, sentence: str) -> None:
        """Keep it."""
        self.notes.append(sentence)

    def epoch(self, record: EpochRecord) -> None:
        """Keep the record; a new machine comes after the first epoch."""
        self.records.append(record)
        if len(self.records) == 1:
            self.machines.add()

    def _node_of(self, name: str) -> str:
        actor = ray.get_actor(name, namespace=self.namespace)
        node: str = ray.get(actor.node.remote(), timeout=60)
        return node

    def _kill(self, node_id: str) -> None:
        self.machines.kill(node_id)
        self.killed.append(node_id)

    def _kill_after_block(self, node_id: str, chain: Path) -> None:
        before, end = read_mark(chain), time.monotonic() + 120
        while read_mark(chain) == before and time.monotonic() < end:
            time.sleep(0.001)
        self._kill(node_id)


def test_killed_nodes_cost_no_epoch_and_no_block(
    tiny_toml: Path, small_text: str, tmp_path: Path, machines: Machines
) -> None:
    # Answers of more than 100 kB lie on the node that made them.
    asked = ["query.windows=96", "query.request=256", "storage.ledger=$TAORAY_DISK", "deadlines.start_s=240"]
    network, home = load_network(tiny_toml, [small_text, *asked]), Home(tmp_path)
    show = LosesNodes(machines, found(network, home).hash.hex())
    outcome = run_network(network, home, epochs=2, address=machines.cluster.address, show=show)
    assert show.closer is not None
    show.closer.join()
    assert len(show.killed) == 2, show.notes
    assert [record.epoch for record in outcome.records] == [1, 2]
    for record in outcome.records:
        assert record.final
        assert record.minted_rao == 360 * 10**9
        assert {neuron.name: neuron.reason for neuron in record.neurons if neuron.status != "ok"} == {}, show.notes
    assert taoray.verify(tmp_path).height == 6
    assert any("is gone" in note for note in show.notes)
    assert any("came" in note for note in show.notes)
    assert any("of the stake" in note and "moves to" in note for note in show.notes)

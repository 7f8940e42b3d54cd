"""Is there one history, and each epoch paid once, when the network between the nodes is cut and healed?

Four Ray nodes run in network namespaces of this machine, each with an address and a disk of its own, joined by a
bridge; four validators, none with a third of the stake. The driver is on the head node. First the node of the ledger's
keeper is cut off, then one with a validator alone: each until two epochs were closed without it. Then its wire is
whole again and its node joins anew with its old disk, as its service would have it (`Restart=always`), and two more
epochs are closed.

While the ledger's node is cut off, a second keeper is tried on it: what the old one held is taken from it as it is, the
next block is built on it under the old term, and the validators that live there sign what they may. None of that may
ever be on the ledger.

Who checks takes no part (benchmarks/chaos_observer.py), and sees all disks through all cuts.

What bounds it: the home is a folder that all nodes see through the cuts, as a shared filesystem with a network of its
own. Which node the ledger is on is Ray's and the plan's to say; it is asked of the processes that hold it open.

Run, as root: `python benchmarks/partition.py [--json]`.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.chaos import BLOCKS, Chaos, databases  # noqa: E402
from benchmarks.chaos_kills import NETWORK  # noqa: E402
from benchmarks.chaos_nodes import HEAD, LOOK_S, Nodes  # noqa: E402
from benchmarks.kill_cohort import send_kill  # noqa: E402
from benchmarks.partition_network import Wires, why_not, wired  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from ledger.store.chain import Chain  # noqa: E402

WORKERS = ("one", "two", "three")
FOURTH = '\n[[validators]]\nname = "vito"\nstake_tao = 35\n'
"""Beside the tiny network's three, so that nobody has a third of the stake."""
EPOCHS = 2
"""To be closed while a node is cut off, and after it is back."""
STEP_S = 400.0
"""How long any of this may take."""


class Partition:
    """The network under observation, and what was measured of each cut."""

    def __init__(self, nodes: Nodes, wires: Wires) -> None:
        network = nodes.folder / "four.toml"
        network.write_text(NETWORK.read_text() + FOURTH)
        self.nodes, self.wires = nodes, wires
        self.chaos = Chaos(nodes, random.Random(0), longest_s=0.0, network=network)

    def run(self) -> dict[str, Any]:
        """Both cuts, an epoch in peace, and what was found."""
        chaos = self.chaos
        chaos.launch.start(epochs=10_000)
        self._wait("two epochs", lambda: self._final() >= 2 * BLOCKS)
        measured = {"ledger_cut": self._cut("keeper/chain.db", self._second_keeper)}
        measured["validator_cut"] = self._cut("*/replica.db", lambda node: {})
        chaos.finish()
        found = chaos.findings()
        for name in ("kills", "kills_by_kind", "kills_after"):
            del found[name]
        return {**measured, **found}

    def _cut(self, database: str, meanwhile: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        node = self._find(database)
        held, began, before = self._held(node), time.monotonic(), self._final()
        self._tell(f"cut off {node}, which has {', '.join(held)}")
        self.wires.cut(node)
        said = meanwhile(node)
        self._wait(f"a block without {node}", lambda: self._final() > before)
        first_s = time.monotonic() - began
        self._wait(f"two epochs without {node}", lambda: self._final() >= before + EPOCHS * BLOCKS + 1)
        cut_s, closed = time.monotonic() - began, self._final()
        self.nodes.kill(node)
        self.wires.heal(node)
        self.nodes.start(node, self.wires.addresses[node])
        back = self._final()
        self._tell(f"{node} is back with its old disk")
        self._wait("two epochs more", lambda: self._final() >= back + EPOCHS * BLOCKS)
        return {
            "node": node,
            "held": held,
            "stake_share": round(self._stake_share(held), 3),
            "first_final_block_s": round(first_s, 1),
            "cut_s": round(cut_s, 1),
            "blocks_while_cut": closed - before,
            **said,
        }

    def _second_keeper(self, node: str) -> dict[str, Any]:
        """Take the old keeper's disk from it, and go on there as if it led."""
        for kind in ("Keeper", "Validator"):
            for pid in self.nodes.actors(kind, node):
                send_kill(pid)
        (disk,) = self.nodes.disk(node).iterdir()
        command = [*self.nodes.within(node), sys.executable, "-m", "benchmarks.partition_keeper", str(disk)]
        done = subprocess.run(
            [*command, str(self.chaos.home.wallets)],
            env=self.nodes.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the second keeper: {done.stderr[-2000:]}")
        self._tell(f"a second keeper on {node}: {done.stdout.strip()}")
        return {"second_keeper": json.loads(done.stdout)}

    def second_block_is_gone(self, measured: dict[str, Any]) -> list[str]:
        """Whether what the second keeper wrote is on the ledger."""
        second = measured["ledger_cut"]["second_keeper"]
        with Chain.open(self.chaos.home.chain) as chain:
            held = chain.header(second["height"]).hash.hex()
        return [f"doubled: block {second['height']} is the second keeper's"] if held == second["block_hash"] else []

    def _find(self, database: str) -> str:
        """A worker with such a database open and, unless it is asked for, without the keeper's."""
        found: list[str] = []

        def look() -> bool:
            names = [name for name in WORKERS if any(Path(held).match(database) for held in self._held(name))]
            found[:] = [n for n in names if database.startswith("keeper") or "keeper/chain.db" not in self._held(n)]
            return bool(found)

        self._wait(f"a worker with {database}; what is on the head cannot be cut off, so begin again", look)
        return found[0]

    def _held(self, node: str) -> list[str]:
        return self.nodes.held(node)

    def _stake_share(self, held: list[str]) -> float:
        with Chain.open(self.chaos.home.chain) as chain:
            stakes = {neuron.name: chain.state.stake(neuron.hotkey) for neuron in chain.state.neurons()}
            total_rao = sum(member.stake_rao for member in chain.state.finality_set)
        return sum(stakes.get(Path(path).parts[0], 0) for path in held) / total_rao

    def _final(self) -> int:
        return self.chaos.observer.look()

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        end = time.monotonic() + STEP_S
        while not done():
            self.chaos.drive()
            if time.monotonic() > end:
                raise RuntimeError(f"waited {STEP_S:g} s for {what}: {self.chaos.launch.last_line()}")
            time.sleep(LOOK_S)

    def _tell(self, sentence: str) -> None:
        self.chaos.tell(sentence)


def run(folder: Path) -> dict[str, Any]:
    """Build the nodes, cut, heal and check."""
    names = (HEAD, *WORKERS)
    began = time.monotonic()
    with wired(names) as wires:
        nodes = Nodes(folder, within={name: wires.within(name) for name in names})
        partition = None
        try:
            for name in names:
                nodes.start(name, wires.addresses[name])
            partition = Partition(nodes, wires)
            measured = partition.run()
            measured["faults"] += partition.second_block_is_gone(measured)
            measured["disks"] = len(databases(nodes, partition.chaos.home))
        finally:
            if partition is not None:
                partition.chaos.launch.stop()
            nodes.end()
    return {"seconds": round(time.monotonic() - began), **measured}


def main() -> None:
    """Run it; the record is written unless only the JSON is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print what was measured alone, and write no record")
    parser.add_argument("--keep", type=Path, help="the folder to run in, which stays; keep its name short")
    arguments = parser.parse_args()
    if reason := why_not():
        sys.exit(f"no network namespaces here: {reason}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="part-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        measured = run(folder)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    configuration = {"nodes": 1 + len(WORKERS), "validators": 4, "epochs_while_cut": EPOCHS}
    if arguments.json:
        print(json.dumps({"benchmark": "partition", "configuration": configuration, "measured": measured}))
    else:
        write_record("partition", configuration, measured)
    sys.exit(1 if measured["faults"] else 0)


if __name__ == "__main__":
    main()

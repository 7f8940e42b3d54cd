"""Does a node that is killed with its disk, in any step of an epoch, cost a block, an epoch or a peer's answer?

A tiny network (three validators, four peers, two hosts) runs on a head that is kept free and three workers, each a tree
of processes with a disk of its own for the ledger's databases; the home is the folder that all of them see. First a
worker is killed in each step of an epoch: the one that the ledger is on, and another. Then the ledger's node is killed
so many times at random instants. A killed worker loses its disk, stays away until the next block is final without it,
and comes back as a new one. Before each kill the blocks that are final on any disk are noted down; at the end all of
them have to be on the ledger in the home, in one history (benchmarks/chaos_observer.py).

What bounds it: processes die here, not machines; nodes share a clock and a network, and the head is not killed.

Run: `python benchmarks/nodes.py [--kills 20] [--steps 1] [--seed 1] [--json]`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.chaos import Chaos  # noqa: E402
from benchmarks.chaos_nodes import LOOK_S, Nodes, running  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from cluster.epoch import STEPS, Step  # noqa: E402
from cluster.observe.log import read_log  # noqa: E402
from cluster.report import read_epochs  # noqa: E402

WORKERS = ("node-1", "node-2", "node-3")
LEDGER, OTHER = "the ledger's node", "another node"
LEAST = 2
"""Workers that run before one of them is killed."""
WITHIN_S = 0.3
"""How long after a step began its node is killed, at most."""
STEP_S = 300.0
"""How long a step may take to come."""
RESTED_S = 3.0
"""The longest time from a final block to a kill at a random instant."""


class NodeKills:
    """One run. `chance` decides the instants."""

    def __init__(self, nodes: Nodes, chance: random.Random) -> None:
        self.chaos = Chaos(nodes, chance, longest_s=RESTED_S)
        self.kills: Counter[str] = Counter()
        self.recovered_s: list[float] = []
        self._nodes, self._chance = nodes, chance
        self._starting: dict[str, threading.Thread] = {}

    def kill_in(self, step: Step, which: str) -> None:
        """Kill a node soon after a step of an epoch began."""
        self._wait_for(step)
        time.sleep(self._chance.uniform(0, WITHIN_S))
        self._kill(which, f"{step.value}: {which}")

    def kill_any_time(self) -> None:
        """Kill the ledger's node at a random instant."""
        self.chaos.wait_for_block()
        time.sleep(self._chance.uniform(0, RESTED_S))
        self._kill(LEDGER, f"any time: {LEDGER}")

    def _kill(self, which: str, kind: str) -> None:
        """Kill, wait for the next final block without the node, and have a new one start."""
        end = time.monotonic() + STEP_S
        while not (on := self._with_keeper()) or len(self._up()) < LEAST:
            if time.monotonic() > end:
                raise RuntimeError(f"no keeper, or too few nodes: {self._up()}: {self.chaos.launch.last_line()}")
            self.chaos.observer.look()
            time.sleep(LOOK_S)
        name = on[0] if which == LEDGER else self._chance.choice([name for name in self._up() if name not in on])
        height = self.chaos.observer.look()
        began = time.monotonic()
        self._nodes.kill(name)
        self._nodes.lose_disk(name)
        self.kills[kind] += 1
        self.chaos.tell(f"kill {self.kills.total()}, {kind} ({name}), after block {height}")
        self.chaos.wait_for_block()
        self.recovered_s.append(time.monotonic() - began)
        self._starting[name] = threading.Thread(target=self._nodes.start, args=(name,), daemon=True)
        self._starting[name].start()

    def _up(self) -> list[str]:
        """The workers that run."""
        return [name for name in WORKERS if name not in self._starting or not self._starting[name].is_alive()]

    def _with_keeper(self) -> list[str]:
        return [name for name in self._up() if self._nodes.actors("Keeper", name)]

    def bring_all_back(self) -> None:
        """Wait until all workers run."""
        for thread in self._starting.values():
            thread.join()

    def _wait_for(self, step: Step) -> None:
        """Until a driver begins the step; enlisting begins where an epoch ends."""
        seen, end = self._begun(step), time.monotonic() + STEP_S
        while self._begun(step) <= seen:
            if time.monotonic() > end:
                raise RuntimeError(f"{step} does not come: {self.chaos.launch.last_line()}")
            self.chaos.drive()
            time.sleep(0.05)

    def _begun(self, step: Step) -> int:
        """How often the step began, as the log of the home says."""
        if step is Step.ENLIST:
            return len(read_epochs(self.chaos.home.epochs))
        lines = read_log(self.chaos.home) if self.chaos.home.folder.joinpath("log.jsonl").exists() else ()
        return len({(line.epoch, line.process) for line in lines if line.step == step.value and line.level == "info"})

    def measured(self) -> dict[str, Any]:
        """What came of it."""
        records = read_epochs(self.chaos.home.epochs)
        told = self.chaos.findings()
        waits = sorted(self.recovered_s)
        return {
            **{name: told[name] for name in ("epochs", "blocks", "blocks_lost", "blocks_doubled", "supply_mismatches")},
            "histories": 1 if told["blocks_doubled"] == 0 else 2,
            "queries_unaccounted_for": told["queries_unaccounted_for"],
            "terms": told["terms"],
            "drivers_that_gave_up": told["drivers_that_gave_up"],
            "kills": self.kills.total(),
            "kills_of_the_ledgers_node": sum(count for kind, count in self.kills.items() if kind.endswith(LEDGER)),
            "kills_by_kind": dict(sorted(self.kills.items())),
            "next_final_block_after_s": {
                "median": round(waits[len(waits) // 2], 1) if waits else None,
                "longest": round(waits[-1], 1) if waits else None,
            },
            "peers_without_answer": dict(
                Counter(
                    f"{neuron.status}: {neuron.reason}"
                    for record in records
                    for neuron in record.neurons
                    if neuron.status != "ok"
                )
            ),
            "faults": told["faults"],
        }


def run(folder: Path, *, kills: int, steps: int, seed: int, minutes: float) -> dict[str, Any]:
    """Kill in every step, then at random instants, as long as there is time, and check all."""
    chance, began = random.Random(seed), time.monotonic()
    plan: list[tuple[Step | None, str]] = [(step, which) for step in STEPS * steps for which in (LEDGER, OTHER)]
    plan += [(None, LEDGER)] * kills
    with running(Nodes(folder, free_head=True), WORKERS) as nodes:
        case = NodeKills(nodes, chance)
        try:
            case.chaos.wait_for_block()
            for step, which in plan:
                if time.monotonic() - began > 60 * minutes:
                    break
                if step is None:
                    case.kill_any_time()
                else:
                    case.kill_in(step, which)
            case.bring_all_back()
            case.chaos.finish()
        finally:
            case.chaos.launch.stop()
        return {"seconds": round(time.monotonic() - began), "nodes": len(nodes.names), **case.measured()}


def main() -> None:
    """Run it; the record is written unless only the JSON is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of the ledger's node, at random instants")
    parser.add_argument("--steps", type=int, default=1, help="how often a node of each kind is killed in each step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=120.0, help="after which no more nodes are killed")
    parser.add_argument("--keep", type=Path, help="the folder to run in, which stays; keep its name short")
    parser.add_argument("--json", action="store_true", help="print what was measured alone, and write no record")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {name: getattr(arguments, name) for name in ("kills", "steps", "seed", "minutes")}
    try:
        measured = run(
            folder, kills=arguments.kills, steps=arguments.steps, seed=arguments.seed, minutes=arguments.minutes
        )
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps({"benchmark": "nodes", "configuration": configuration, "measured": measured}))
    else:
        write_record("nodes", configuration, measured)
    sys.exit(1 if measured["faults"] else 0)


if __name__ == "__main__":
    main()

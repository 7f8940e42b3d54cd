"""Does anything get lost, doubled or forgotten while any process and any node of a network is killed with -9?

A tiny network (three validators, four peers, two hosts) runs on Ray nodes of this machine, each a tree of processes
with a disk of its own for the ledger's databases; the home is the folder that all of them see. The driver is `taoray
launch` in a process of its own, launched again when it dies, as a user would. At random instants are killed: a host, a
validator, the keeper, the driver, a whole node. A node's disk is lost, or kept, or put aside and given back to the node
at one of its next deaths, when it is old. Kills come a random while after the next final block, or at once after the
last kill, so that faults meet. A driver may end by itself with an error where too few answer for too long; it is
launched again, and that is counted.

Who checks takes no part (benchmarks/chaos_observer.py): it reads the databases on all disks all the time, counts the
signatures itself, and at the end replays the ledger from its genesis.

What bounds it: processes die here, not machines, so what the kernel holds survives; nodes share a clock and a network.
The head node holds Ray's own tables and is not killed: Ray ends with it, and the next launch goes on from the disks.

Run: `python benchmarks/chaos.py [--kills 100] [--epochs 50] [--seed 1] [--nodes 3] [--longest 2] [--json]`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.chaos_kills import NETWORK, Killer, Launch, plan_kinds  # noqa: E402
from benchmarks.chaos_nodes import LOOK_S, Nodes, running  # noqa: E402
from benchmarks.chaos_observer import (  # noqa: E402
    Observer,
    check_disks,
    supply_mismatches,
    unaccounted,
    unrecorded,
)
from benchmarks.record import write_record  # noqa: E402
from cluster.home import Home  # noqa: E402
from ledger.store.chain import Chain  # noqa: E402

TOGETHER = 0.5
"""Chance that a kill does not wait until the network got over the one before."""
BLOCKS = 3
"""Of an epoch."""
ENDLESS = 10_000
"""Epochs that a driver is asked for while there are kills to come."""
GIVE_UPS = 4
"""Drivers in a row that may end by themselves without a new final block."""


@dataclass
class Tally:
    """What was done to the network."""

    kills: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    gave_up: int = 0
    gave_up_in_a_row: int = 0


class Chaos:
    """One run: the network, who kills, and who watches."""

    def __init__(self, nodes: Nodes, chance: random.Random, *, longest_s: float, network: Path = NETWORK) -> None:
        self.home = Home(nodes.folder / "home")
        self.launch = Launch(nodes, self.home.folder, network=network)
        self.killer = Killer(nodes, self.launch, chance)
        self.observer = Observer(lambda: databases(nodes, self.home))
        self.tally = Tally()
        self._nodes, self._chance, self._longest_s = nodes, chance, longest_s

    def go(self, kills: int, epochs: int, kinds: tuple[str, ...], minutes: float) -> None:
        """Kill until there were so many kills and so many epochs are closed, or the time is over."""
        plan, end = plan_kinds(self._chance, kinds), time.monotonic() + 60 * minutes
        while self._watch() < BLOCKS * epochs or self.tally.kills.total() < kills:
            if time.monotonic() > end:
                self.tell(f"{minutes:g} minutes are over")
                break
            self.drive()
            if self.tally.kills.total() >= kills:
                self._look_for(1.0)
                continue
            if self._chance.random() >= TOGETHER:
                self.wait_for_block()
            self._look_for(self._chance.uniform(0, self._longest_s))
            self.kill(next(plan))

    def wait_for_block(self) -> None:
        """Launch where nothing runs, and wait for one more final block."""
        height = self._watch()
        while self._watch() <= height:
            self.drive()
            self._look_for(LOOK_S)

    def kill(self, kind: str) -> None:
        """Kill one of a kind, and tell."""
        phase = self._phase()
        if (what := self.killer.kill(kind)) is None:
            return
        self.tally.kills[kind] += 1
        self.tally.after[phase] += 1
        self.tell(f"kill {self.tally.kills.total()}: {what}, after {phase}")

    def finish(self) -> None:
        """Stop as a user does, bring every node back, and run one more epoch in peace."""
        self.launch.interrupt()
        self.killer.bring_all_back()
        height = self._watch()
        self.tell(f"in peace from block {height}")
        while self._watch() < (height // BLOCKS + 1) * BLOCKS or self.launch.runs():
            self.drive(1)
            self._look_for(1.0)

    def findings(self) -> dict[str, Any]:
        """What the observer found, at the end."""
        self._watch()
        with Chain.open(self.home.chain) as chain:
            supply, height = supply_mismatches(chain), chain.head.height
            epochs, terms, minted_rao = chain.head.epoch, chain.head.term, chain.state.supply().minted_rao
        lost, queries, epochs_lost = self.observer.lost(self.home), unaccounted(self.home), unrecorded(self.home)
        damaged = list(check_disks(databases(self._nodes, self.home), self.observer.final))
        faults = [*self.observer.faults, *damaged, *lost, *supply, *queries, *epochs_lost]
        for sentence in faults:
            self.tell(sentence)
        return {
            "kills": self.tally.kills.total(),
            "epochs": epochs,
            "blocks": height,
            "blocks_lost": len(lost),
            "blocks_doubled": len(self.observer.faults) + len(damaged),
            "supply_mismatches": len(supply),
            "queries_unaccounted_for": len(queries),
            "epochs_without_record": len(epochs_lost),
            "longest_stall_s": round(self.observer.longest_stall_s, 1),
            "longest_stall_after_block": self.observer.stalled_at,
            "kills_by_kind": dict(sorted(self.tally.kills.items())),
            "kills_after": dict(sorted(self.tally.after.items())),
            "drivers_that_gave_up": self.tally.gave_up,
            "terms": terms,
            "minted_rao": minted_rao,
            "looks": self.observer.looks,
            "faults": faults[:50],
        }

    def _watch(self) -> int:
        return self.observer.look()

    def _look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._watch()
            self.killer.bring_back()
            time.sleep(LOOK_S)

    def drive(self, epochs: int = ENDLESS) -> None:
        """Launch where nothing runs; RuntimeError where launches end without getting anywhere."""
        code = self.launch.ended()
        if code is None:
            return
        if code not in (0, Launch.KILLED, Launch.INTERRUPTED):
            self.tally.gave_up += 1
            self.tally.gave_up_in_a_row += 1
            self.tell(f"the driver gave up with {code}: {self.launch.last_line()}")
        else:
            self.tally.gave_up_in_a_row = 0
        if self.tally.gave_up_in_a_row > GIVE_UPS:
            raise RuntimeError(f"the network does not get on: {self.launch.log.read_text(errors='replace')[-3000:]}")
        self.launch.start(epochs)

    def _phase(self) -> str:
        """The kind of the last block in the home; what follows it is interrupted."""
        try:
            with Chain.open(self.home.chain) as chain:
                return chain.head.kind
        except Exception as error:
            return type(error).__name__

    def tell(self, sentence: str) -> None:
        """One line on standard error."""
        height = max(self.observer.final, default=0)
        print(f"{time.strftime('%H:%M:%S')} block {height}: {sentence}", file=sys.stderr, flush=True)


def databases(nodes: Nodes, home: Home) -> list[Path]:
    """Every ledger on every disk, those put aside too, and in the home."""
    apart = [*(nodes.folder / "disks").glob("*/*/*/*.db"), *(nodes.folder / "aside").glob("*/*/*/*.db")]
    return sorted(
        path
        for path in (home.chain, *home.validators.glob("*/replica.db"), *apart)
        if path.name != "mempool.db" and path.exists()
    )


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Kill so often through so many epochs, and check all."""
    chance = random.Random(arguments.seed)
    began = time.monotonic()
    with running(Nodes(folder), [f"node-{index}" for index in range(1, arguments.nodes)]) as nodes:
        chaos = Chaos(nodes, chance, longest_s=arguments.longest)
        try:
            chaos.go(arguments.kills, arguments.epochs, chaos.killer.kinds(), arguments.minutes)
            chaos.finish()
        finally:
            chaos.launch.stop()
        return {"seconds": round(time.monotonic() - began), **chaos.findings()}


def main() -> None:
    """Run it; the record is written unless only the JSON is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3, help="the head among them, which is not killed")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds from a block to a kill, at most")
    parser.add_argument("--minutes", type=float, default=600.0, help="after which no more is killed")
    parser.add_argument("--keep", type=Path, help="the folder to run in, which stays; keep its name short")
    parser.add_argument("--json", action="store_true", help="print what was measured alone, and write no record")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        name: getattr(arguments, name) for name in ("kills", "epochs", "seed", "nodes", "longest", "minutes")
    }
    try:
        measured = run(folder, arguments)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps({"benchmark": "chaos", "configuration": configuration, "measured": measured}))
    else:
        write_record("chaos", configuration, measured)
    sys.exit(1 if measured["faults"] else 0)


if __name__ == "__main__":
    main()

"""What is killed in a chaos run, how, and how it comes back.

Invariants: an actor comes back by Ray, a driver by another launch, a node by being started again after a while; every
kill is -9 and of something that runs; only what this run started is killed.
"""

import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos_nodes import HEAD, LEDGER, LOOK_S, ROOT, Nodes
from benchmarks.kill_cohort import send_kill

NETWORK = ROOT / "tests" / "cluster" / "tiny.toml"
PACKAGES = ("asyncio", "email", "encodings", "idlelib", "unittest")
"""Of the standard library, for text: a second to prepare."""
OVERRIDES = (
    "training.steps=8",
    "training.batch=4",
    "deadlines.start_s=300",
    "deadlines.finality_s=120",
    "deadlines.validator_s=60",
)
DRIVER = "driver"
NODE, NODE_LOST, NODE_KEPT, NODE_OLD = "node", "node, disk lost", "node, disk kept", "node, old disk returned"
NODE_KINDS = (NODE_LOST, NODE_KEPT, NODE_OLD)
"""What becomes of a node's disk; which of them is left to chance."""
ACTORS = {"host": "Host", "validator": "Validator", "keeper": "Keeper"}
BAG = (*("host",) * 6, *("validator",) * 4, *("keeper",) * 4, DRIVER)
"""What is killed, in random order, then again; with nodes, two of theirs besides."""
STOP_S = 60.0
"""How long a driver may take to end its actors."""
AWAY_S = 12.0
"""How long a node stays away, at most."""


class Launch:
    """`taoray launch` in processes of its own, one after another."""

    KILLED, INTERRUPTED = -9, 130

    def __init__(self, nodes: Nodes, home: Path, overrides: tuple[str, ...] = (), *, network: Path = NETWORK) -> None:
        self.log = nodes.folder / "launches.log"
        self._network = network
        self._nodes, self._home = nodes, home
        apart = (f"storage.ledger={LEDGER}",) if len(nodes.names) > 1 else ()
        self.overrides = (*OVERRIDES, *apart, *overrides)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, epochs: int) -> list[str]:
        """The command line of a launch."""
        text = [str(Path(sysconfig.get_path("stdlib")) / name) for name in PACKAGES]
        sets = [part for each in (*self.overrides, f"data.paths={text}") for part in ("--set", each)]
        where = ["--home", str(self._home), "--address", self._nodes.address]
        launch = [sys.executable, "-m", "cluster", "launch", str(self._network)]
        return [*self._nodes.within(HEAD), *launch, *where, "--epochs", str(epochs), *sets]

    def start(self, epochs: int) -> None:
        """Launch for some epochs."""
        with self.log.open("ab") as told:
            self._process = subprocess.Popen(
                self.command(epochs),
                cwd=ROOT,
                env=self._nodes.environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def runs(self) -> bool:
        """Whether a driver runs."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> int | None:
        """How the last one ended: 0 before the first; None while it runs."""
        return 0 if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        """The driver's process."""
        return self._process.pid if self._process else 0

    def stop(self) -> None:
        """Kill it with -9, and wait."""
        if self._process is not None and self.runs():
            self._process.kill()
            self._process.wait()

    def interrupt(self) -> None:
        """Ask it to end, as a supervisor does, and wait; RuntimeError where it does not."""
        if self._process is not None and self.runs():
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"the driver does not end on SIGTERM: {self.last_line()}") from None

    def last_line(self) -> str:
        """What it printed last."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Killer:
    """Kills, and brings nodes back. `chance` decides which, and for how long."""

    def __init__(self, nodes: Nodes, launch: Launch, chance: random.Random) -> None:
        self._nodes, self._launch, self._chance = nodes, launch, chance
        self._away: dict[str, float] = {}
        self._coming: set[str] = set()

    def kinds(self) -> tuple[str, ...]:
        """The bag of what can be killed here."""
        return (*BAG, NODE, NODE) if len(self._nodes.names) > 1 else BAG

    def kill(self, kind: str) -> str | None:
        """Kill one of a kind; what it was, or None where there is none now."""
        if kind == DRIVER:
            if not self._launch.runs():
                return None
            self._launch.stop()
            return kind
        if kind in NODE_KINDS:
            return self._kill_node(kind)
        found = self._nodes.actors(ACTORS[kind])
        return kind if found and send_kill(self._chance.choice(found)) else None

    def _kill_node(self, kind: str) -> str | None:
        workers = [name for name in self._nodes.names if name != HEAD and name not in self._coming]
        if not workers:
            return None
        name = self._chance.choice(workers)
        with_keeper = bool(self._nodes.actors("Keeper", name))
        self._nodes.kill(name)
        disk, aside = self._nodes.disk(name), self._nodes.folder / "aside" / name
        if kind == NODE_LOST:
            if not aside.exists() and self._chance.random() < 0.5:
                aside.parent.mkdir(exist_ok=True)
                disk.rename(aside)
            else:
                self._nodes.lose_disk(name)
        elif kind == NODE_OLD and aside.exists():
            self._nodes.lose_disk(name)
            aside.rename(disk)
        self._away[name] = time.monotonic() + self._chance.uniform(0, AWAY_S)
        return f"{kind} ({name}{', the ledger was there' if with_keeper else ''})"

    def bring_back(self) -> None:
        """Begin to start the nodes whose time has come, and see whether those that were begun are up."""
        for name in [name for name, until in self._away.items() if time.monotonic() >= until]:
            self._nodes.begin(name)
            self._coming.add(name)
            del self._away[name]
        self._coming = {name for name in self._coming if not self._nodes.is_up(name)}

    def bring_all_back(self) -> None:
        """Start every node that is away, and wait until all are up."""
        self._away = dict.fromkeys(self._away, 0.0)
        while self._away or self._coming:
            self.bring_back()
            time.sleep(LOOK_S)


def plan_kinds(chance: random.Random, kinds: tuple[str, ...]) -> Iterator[str]:
    """What is killed, one after another: the bag in random order, then again."""
    while True:
        for kind in chance.sample(kinds, len(kinds)):
            yield chance.choice(NODE_KINDS) if kind == NODE else kind

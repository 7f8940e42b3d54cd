"""Do the members of a cohort keep the same θ, and the ledger its blocks, while any process is killed with -9?

A small network on Ray (three validators, two hosts; three members, a cheat, a peer outside the cohort) is launched by
`taoray launch`, in a process of its own. At random instants a host, a validator, the keeper or the driver is killed,
in the middle of whatever it does: a random while after the next block, so that each kill is one that the network got
over before (some drivers also while it starts). After a driver another is launched, and goes on from the last block.
When the epochs are over, one more is run in peace. Then:

* the ledger is derived again from its genesis and compared with every stored row;
* in every epoch all members began at one θ, and every validator that had a word on the round named the same;
* every member's own folder says the same θ at the end, and it is the ledger's;
* θ is derived again from the cohort's first parameters by somebody who took no part: from the accepted updates, which
  are copied as they appear, round after round, with the ledger's hash at each.

What bounds it: this shows the death of processes, not of the machine; Ray's own processes end with the driver. How
many epochs agree on a round depends on how often is killed: the row stays as it is where too few could value it.

Run: `python benchmarks/kill_cohort.py [--epochs 30] [--seed 1] [--longest 8] [--keep FOLDER]`.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.kill_cohort_check import check_network, copy_updates  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from cluster.home import Home  # noqa: E402
from ledger.errors import LedgerError  # noqa: E402
from ledger.store.chain import Chain  # noqa: E402

NETWORK = ROOT / "tests" / "cluster" / "cohort.toml"
PACKAGES = ("asyncio", "email", "encodings", "idlelib", "unittest")
"""Of the standard library, for text: a second to prepare."""
OVERRIDES = ("training.steps=6", "training.batch=4", "deadlines.finality_s=300", "deadlines.start_s=300")
DRIVER, EARLY_DRIVER = "driver", "driver, early"
BAG = ("host", "host", "host", "validator", "validator", "keeper", DRIVER)
"""What is killed, in random order, then again."""
EARLY = 0.3
"""Chance that a driver is not given the time for a block, and may die while the network starts."""
TITLES = {"host": "ray::Host", "validator": "ray::Validator", "keeper": "ray::Keeper"}
GIVE_UPS = 3
"""Drivers that may end by themselves with an error, as they do when too few answer for too long."""
LOOK_S = 0.2
"""Pause between two looks at the network."""
END_S = 120.0
"""How long Ray's processes may take to end after their driver."""


class Launched:
    """`taoray launch` in a process of its own, and what it started."""

    def __init__(self, home: Path, epochs: int, log: Path) -> None:
        text = [str(Path(sysconfig.get_path("stdlib")) / name) for name in PACKAGES]
        sets = [part for each in (*OVERRIDES, f"data.paths={text}") for part in ("--set", each)]
        command = [sys.executable, "-m", "cluster", "launch", str(NETWORK), "--home", str(home)]
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with log.open("ab") as told:
            self._process = subprocess.Popen(
                [*command, "--epochs", str(epochs), *sets],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def kill(self, kind: str, chance: random.Random) -> bool:
        """Kill one process of a kind with -9; False where there is none now."""
        if kind in (DRIVER, EARLY_DRIVER):
            self.end()
            return True
        found = [pid for pid in descendants(self._process.pid) if title(pid).startswith(TITLES[kind])]
        return bool(found) and send_kill(chance.choice(sorted(found)))

    def end(self) -> None:
        """Kill the driver with -9, and wait until all that it started has ended too."""
        started = descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        end = time.monotonic() + END_S
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            if time.monotonic() > end:
                raise RuntimeError(f"outlived their driver: {[title(pid) for pid in started if title(pid)]}")
            time.sleep(LOOK_S)


def send_kill(pid: int) -> bool:
    """Kill a process with -9; False where it has just ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these did."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        waiting += (new := children.get(waiting.pop(), []))
        found += new
    return found


def title(pid: int) -> str:
    """What a process calls itself; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").strip("\x00 ")
    except OSError:
        return ""


def blocks(home: Home) -> int:
    """How high the ledger is: three blocks an epoch."""
    try:
        with Chain.open(home.chain) as chain:
            return chain.head.height
    except LedgerError:
        return 0


def plan_kills(chance: random.Random, longest_s: float) -> Iterator[tuple[float, str]]:
    """After which pause is killed, and what."""
    while True:
        for kind in chance.sample(BAG, len(BAG)):
            early = kind == DRIVER and chance.random() < EARLY
            yield chance.uniform(0, longest_s), EARLY_DRIVER if early else kind


def kill_through(home: Home, copies: Path, epochs: int, seed: int, longest_s: float, log: Path) -> dict[str, Any]:
    """Launch, kill and launch again until so many epochs are closed; kills by kind, and how drivers ended."""
    chance = random.Random(seed)
    kills: Counter[str] = Counter()
    gave_up = 0
    plan = plan_kills(chance, longest_s)
    launched: Launched | None = None
    try:
        while (left := epochs - blocks(home) // 3) > 0:
            launched = launched or Launched(home.folder, left, log)
            (pause_s, kind), height = next(plan), blocks(home)
            until = None
            while launched.ended() is None and (until is None or time.monotonic() < until):
                if until is None and (kind == EARLY_DRIVER or blocks(home) > height):
                    until = time.monotonic() + pause_s
                copy_updates(home, copies)
                time.sleep(LOOK_S)
            if (code := launched.ended()) is not None:
                gave_up += code != 0
                launched = None
                if gave_up > GIVE_UPS:
                    raise RuntimeError(f"drivers end by themselves: {log.read_text(errors='replace')[-2000:]}")
            elif launched.kill(kind, chance):
                kills[kind] += 1
                print(f"epoch {epochs - left + 1}: killed a {kind} after {pause_s:.1f} s", file=sys.stderr, flush=True)
                launched = None if kind in (DRIVER, EARLY_DRIVER) else launched
    finally:
        if launched is not None:
            launched.end()
            copy_updates(home, copies)
    return {"kills": dict(sorted(kills.items())), "drivers_that_gave_up": gave_up}


def run_in_peace(home: Home, copies: Path, log: Path) -> None:
    """One more epoch without kills; RuntimeError where it does not end well."""
    launched = Launched(home.folder, 1, log)
    try:
        while launched.ended() is None:
            copy_updates(home, copies)
            time.sleep(LOOK_S)
    finally:
        if launched.ended() is None:
            launched.end()
    if code := launched.ended():
        raise RuntimeError(f"the epoch in peace ended with {code}: {log.read_text(errors='replace')[-2000:]}")


def run(folder: Path, epochs: int, seed: int, longest_s: float) -> dict[str, Any]:
    """Kill through so many epochs, run one in peace, and check all. AssertionError names what does not hold."""
    home, copies, log = Home(folder / "home"), folder / "copies", folder / "launches.log"
    copies.mkdir(parents=True)
    began = time.monotonic()
    killed = kill_through(home, copies, epochs, seed, longest_s, log)
    run_in_peace(home, copies, log)
    return {"seconds": round(time.monotonic() - began, 1), **killed, **check_network(home, copies)}


def main() -> None:
    """Run it and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds from a block to a kill, at most")
    parser.add_argument("--keep", type=Path, help="the folder to run in, which stays")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # so that what was launched ends too
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="kill-cohort-"))
    try:
        measured = run(folder, arguments.epochs, arguments.seed, arguments.longest)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    configuration = {"epochs": arguments.epochs, "seed": arguments.seed, "longest_s": arguments.longest}
    write_record("kill_cohort", {**configuration, "overrides": OVERRIDES}, measured)


if __name__ == "__main__":
    main()

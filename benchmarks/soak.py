"""What grows while a network runs for a thousand epochs? Memory, open files, threads, databases, folders, the object
store, and the time of an epoch.

The smallest network (two validators, a peer that trains, one that is still, one that copies; one host) runs in one
tree of processes. After every epoch each process's anonymous memory, files and threads are read from /proc, and the
bytes of each folder of the home. Of each series the slope of the second half is told with its error; what grows beyond
doubt must be a record that is wanted (`EXPLAINED`), else it is a leak and stands under `unexplained`.

What bounds it: a machine that does other work too makes epochs longer, and nothing else. Ctrl-C ends it early; the
record then has the epochs that were closed.

Run: `python benchmarks/soak.py [--epochs 1000] [--keep-epochs 0] [--json] [--out NAME]`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # before ray is imported: as any network here
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by itself Ray lets workers wait for all else on the machine
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

import torch  # noqa: E402

from benchmarks.record import write_record  # noqa: E402
from benchmarks.soak_measure import sample, table, trend  # noqa: E402
from cluster.config import load_network  # noqa: E402
from cluster.driver import run_network  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.report import EpochRecord  # noqa: E402
from cluster.show import Quiet  # noqa: E402

NETWORK = ROOT / "benchmarks" / "soak.toml"
PACKAGES = ("asyncio", "email", "encodings", "idlelib", "unittest")
"""Of the standard library, for text: a second to prepare."""
POINTS = 40
"""Of each series that grows, in the record."""
LOG = "a write-ahead log grows to 64 MiB, and is then written from its beginning again"
CACHE = "SQLite's cache of pages grows with the databases, to 64 MiB for each that a process has open"
VOTES = "for audits; with storage.keep_epochs only those of so many epochs"
EXPLAINED = {
    "home ledger/chain.db-wal": LOG,
    "home ledger/mempool.db-wal": LOG,
    "home validators/*/replica.db-wal": LOG,
    "home ledger/chain.db": "the ledger: headers, receipts, votes and proofs stay; with storage.keep_epochs bodies go",
    "home validators/*/replica.db": "the validators' replicas of the ledger, which keep all bodies",
    "home ledger/metagraph": "a metagraph an epoch, as Parquet",
    "home evidence": f"what each vote rests on, {VOTES}",
    "home validators/*/ballots": f"the validators' ballots, {VOTES}",
    "home epochs.jsonl": "a line an epoch, for reports",
    "home log.jsonl": "what the run told, until it is rotated",
    "keeper memory": CACHE,
    "validator 1 memory": CACHE,
    "validator 2 memory": CACHE,
}
"""What begins like this grows because it is wanted."""


class Watch(Quiet):
    """Takes a sample after every epoch."""

    def __init__(self, home: Home, log: Path) -> None:
        self.series: defaultdict[str, list[float]] = defaultdict(list)
        self.notes: list[str] = []
        self._home, self._log, self._last = home, log, time.monotonic()

    def note(self, sentence: str) -> None:
        """Kept: a soak in which somebody did not answer is another soak."""
        self.notes.append(sentence)

    def epoch(self, record: EpochRecord) -> None:
        """One more value of each series; one that is new was 0 before."""
        now = time.monotonic()
        found = {**sample(self._home.folder), "epoch_seconds": now - self._last}
        closed = len(self.series["epoch_seconds"])
        for name in {*found, *self.series}:
            values = self.series[name]
            values += [0.0] * (closed - len(values))
            values.append(found.get(name, 0.0))
        with self._log.open("a") as log:
            log.write(json.dumps({"epoch": record.epoch, **found}) + "\n")
        self._last = time.monotonic()


def soak(epochs: int, keep_epochs: int, home: Home, log: Path) -> tuple[Watch, str]:
    """Run the network; returns what was seen, and why it ended early where it did."""
    text = [str(Path(sysconfig.get_path("stdlib")) / name) for name in PACKAGES]
    network = load_network(NETWORK, [f"data.paths={text}", f"storage.keep_epochs={keep_epochs}"])
    watch = Watch(home, log)
    try:
        run_network(network, home, epochs=epochs, address="local", show=watch)
    except KeyboardInterrupt:
        return watch, "it was interrupted"
    return watch, ""


def summary(watch: Watch) -> dict[str, Any]:
    """What the record says."""
    series = {name: values for name, values in watch.series.items() if values}
    rows = table(series)
    growing = [name for name, row in rows.items() if row["grows"]]
    reasons = {
        name: next((why for start, why in EXPLAINED.items() if name.startswith(start)), None) for name in growing
    }
    step = max(1, len(series["epoch_seconds"]) // POINTS)
    return {
        "epochs": len(series["epoch_seconds"]),
        "explained": {name: why for name, why in reasons.items() if why},
        "unexplained": [name for name, why in reasons.items() if not why],
        "seconds_per_epoch": [round(value, 5) for value in trend(series["epoch_seconds"])],
        "series": rows,
        "points": {name: series[name][::step] for name in growing},
        "notes": watch.notes[:20],
    }


def main() -> None:
    """Run it and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--keep-epochs", type=int, default=0)
    parser.add_argument("--home", type=Path, help="the folder to run in, which stays")
    parser.add_argument("--out", default="soak", help="the record's name")
    parser.add_argument("--json", action="store_true", help="nothing but the record on standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = arguments.home or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        watch, early = soak(arguments.epochs, arguments.keep_epochs, Home(folder / "home"), folder / "samples.jsonl")
    finally:
        if arguments.home is None:
            shutil.rmtree(folder, ignore_errors=True)
    measured = summary(watch)
    if not arguments.json:
        for name, row in measured["series"].items():
            told = f"{row['first']:14,.0f} {row['middle']:14,.0f} {row['last']:14,.0f}"
            print(f"{name:44} {told} {row['per_epoch']:+12,.2f} ± {row['error']:,.2f}", file=sys.stderr)
    configuration = {"epochs": arguments.epochs, "keep_epochs": arguments.keep_epochs, "ended_early": early}
    write_record(arguments.out, configuration, measured)


if __name__ == "__main__":
    main()

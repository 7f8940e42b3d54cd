"""A network in a process of its own that is submitted to, killed and started again: what `submissions.py` does it to.

Invariants: what is ended here was started here, and is ended by its process id.
"""

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import taoray
from cluster.archive import open_chain
from cluster.home import Home
from cluster.keeping import bases_of, named_by
from ledger.extrinsics import BASELINE_MANIFEST
from ledger.store.mempool import Mempool
from models.store import Store

ROOT = Path(__file__).parents[1]
NETWORK = ROOT / "examples" / "small.toml"
LIBRARY = Path(sysconfig.get_path("stdlib"))
SETTINGS = {
    "data.paths": str([str(LIBRARY / name) for name in ("asyncio", "email", "encodings", "idlelib", "unittest")]),
    "deadlines.task_s": "120.0",
}
PATIENCE_S = 600.0


class Driver:
    """`taoray launch` on a home, with these settings on top of the small network's."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self._settings = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
        self._log = home.with_name(home.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, epochs: int = 10_000) -> None:
        """Begin, and wait until the ledger is there and somebody drives it."""
        command = [sys.executable, "-m", "cluster", "launch", str(NETWORK), "--epochs", str(epochs)]
        options = [word for name, value in self._settings.items() for word in ("--set", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--home", str(self.home), *options],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for(lambda: Home(self.home).chain.exists() and taoray.status(self.home).holder is not None)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until it holds. RuntimeError where the network ends first, or it takes too long."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"the network ended with {self._process.returncode}: see {self._log}")
            if time.monotonic() > end:
                raise RuntimeError(f"nothing happened for {PATIENCE_S:g} s: see {self._log}")
            time.sleep(0.2)

    def wait_for_epoch(self, epoch: int) -> None:
        """Until an epoch is closed and recorded."""
        self.wait_for(lambda: any(record.epoch >= epoch for record in taoray.epochs(self.home)))

    def kill(self) -> None:
        """kill -9 of the driver and of everything that it started, Ray's processes too."""
        assert self._process is not None
        for process in [self._process.pid, *descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End the run as Ctrl-C does; killed where that takes too long."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(120)
            self._process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def finish(self) -> int:
        """Wait for a run of few epochs to end by itself; its exit code."""
        assert self._process is not None
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code


def descendants(process: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, wave = [], [process]
    while wave:
        wave = [child for parent in wave for child in parents.get(parent, [])]
        found += wave
    return found


def named_versions(home: Path) -> set[bytes]:
    """What the ledger names: the neurons' versions, the collective's, checkpoints, and what waits to be published."""
    with open_chain(home) as chain:
        neurons = chain.state.neurons()
        named = {neuron.manifest for neuron in neurons if neuron.manifest is not None}
        named |= {neuron.checkpoint.manifest for neuron in neurons if neuron.checkpoint is not None}
        named |= {member.manifest for member in chain.state.collective.members}
        with contextlib.closing(Mempool(Home(home).mempool, chain.genesis_hash)) as mempool:
            named |= named_by(data for _, data in mempool.pending())
    return named - {BASELINE_MANIFEST}


def check_agreement(home: Path) -> dict[str, Any]:
    """Ledger, store and the last epoch's record against each other. AssertionError names what differs."""
    verified = taoray.verify(home)
    store, named = Store(Home(home).store), named_versions(home)
    named |= bases_of(store, named)
    for version in named:
        assert store.materialize(version).is_dir(), version.hex()
    assert store.versions() == named, "the store holds what nothing names, or lacks what is named"
    objects = {path.name for path in (store.root / "objects").glob("*/*")}
    assert objects == {file.blake2b.hex() for version in named for file in store.get(version).files}
    # What a killed run was writing lies aside for a day; the last run has left nothing.
    began = Home(home).resolved.stat().st_mtime
    assert not [left for left in (store.root / "aside").iterdir() if left.stat().st_mtime > began]
    record = taoray.epochs(home)[-1]
    rows = {row["name"]: row for row in taoray.metagraph(home).to_pylist()}
    asked = {neuron.name for neuron in record.neurons if neuron.bits_per_byte is not None}
    assert asked == {name for name, row in rows.items() if row["manifest"] is not None}
    failed = [neuron for neuron in record.neurons if neuron.name in asked and neuron.status != "ok"]
    assert not failed, failed
    return {
        "height": verified.height,
        "epochs": verified.epoch,
        "neurons": len(rows),
        "peers_asked": len(asked),
        "versions_in_store": len(named),
        "objects_in_store": len(objects),
    }

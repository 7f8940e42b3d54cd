"""The driver's lease on a home: at most one driver runs a network.

Invariants:
* the lease is a row with an end; its holder renews it long before, from a thread of its own;
* taking it over happens under a file lock, which the system releases when its holder dies: on one machine a dead
  holder is known at once, from another machine its lease is waited out.
"""

import contextlib
import fcntl
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import HomeInUse

LEASE_S = 30.0
"""How long a lease lasts unless it is renewed."""

RENEW_S = 8.0
"""How often it is renewed: three chances before it ends."""


@dataclass(frozen=True)
class Holder:
    """Who drives: the machine, the process and, as Unix time, until when unless it renews."""

    machine: str
    process: int
    until: float

    def __str__(self) -> str:
        return f"process {self.process} on {self.machine}"


@contextlib.contextmanager
def hold_lease(path: Path, *, tell: Callable[[str], None] = lambda sentence: None) -> Iterator["Lease"]:
    """Take the lease on a home, keep it renewed, and give it back.

    Args:
        path: the database of the lease.
        tell: hears once whom is waited for, where the last holder died on another machine.

    Raises:
        HomeInUse: another driver holds it, and is alive.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HomeInUse(f"{read_holder(path) or 'another driver'} runs the network in {path.parent}") from None
        lease = Lease(path)
        lease.take(tell)
        try:
            yield lease
        finally:
            lease.give_back()
    finally:
        os.close(lock)


def read_holder(path: Path) -> Holder | None:
    """Who holds the lease on a home now; None where nobody does, or it ran out."""
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as database:
        try:
            row = database.execute("SELECT machine, process, until FROM lease").fetchone()
        except sqlite3.OperationalError:
            return None
    return Holder(*row) if row and row[2] > time.time() else None


class Lease:
    """A lease in force; `lost` is set if another driver took it."""

    def __init__(self, path: Path) -> None:
        self.lost = threading.Event()
        self._path = path
        self._ended = threading.Event()
        self._machine, self._process = socket.gethostname(), os.getpid()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self, tell: Callable[[str], None]) -> None:
        """Write the row, having waited out a holder on another machine, and begin to renew it."""
        told = False
        while (holder := read_holder(self._path)) and holder.machine != self._machine:
            if not told:
                tell(f"waiting {holder.until - time.time():.0f} s for the lease of {holder} to end")
                told = True
            before = holder.until
            time.sleep(max(0.0, min(1.0, holder.until - time.time())))
            renewed = read_holder(self._path)
            if renewed and renewed.until > before:
                raise HomeInUse(f"{renewed} runs the network in {self._path.parent}")
        with contextlib.closing(self._connect()) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS lease (machine TEXT, process INTEGER, until REAL)")
            database.execute("DELETE FROM lease")
            database.execute("INSERT INTO lease VALUES (?, ?, ?)", self._row())
        self._thread.start()

    def give_back(self) -> None:
        """End the lease, so that the next driver need not wait."""
        self._ended.set()
        self._thread.join()
        with contextlib.closing(self._connect()) as database, database:
            database.execute("DELETE FROM lease WHERE machine = ? AND process = ?", (self._machine, self._process))

    def _renew(self) -> None:
        until = time.time() + LEASE_S
        while not self._ended.wait(RENEW_S):
            try:
                if not self._extend():
                    break
                until = time.time() + LEASE_S
            except sqlite3.Error:
                # A full disk or a busy database may pass; a lease that ran out is lost whatever the reason.
                if time.time() > until:
                    break
        else:
            return
        self.lost.set()

    def _extend(self) -> bool:
        with contextlib.closing(self._connect()) as database, database:
            statement = "UPDATE lease SET until = ? WHERE machine = ? AND process = ?"
            return database.execute(statement, (time.time() + LEASE_S, self._machine, self._process)).rowcount > 0

    def _row(self) -> tuple[str, int, float]:
        return self._machine, self._process, time.time() + LEASE_S

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=RENEW_S)

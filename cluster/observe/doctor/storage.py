"""A folder that a network is to live in: whether it can be written, flushed, locked, and is where it should be."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.observe.doctor.check import Check, bad, ok, warn

LEAST_FREE_BYTES, ENOUGH_FREE_BYTES = 512 << 20, 8 << 30
FLUSHES, SLOW_FLUSH_S = 8, 0.05
"""How often a small file is flushed, and the median from which on it is slow: a block waits for about six."""

NETWORK_KINDS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs")
"""Kinds of filesystems that lie on another machine; those through FUSE are told by their prefix."""

MOUNTS = Path("/proc/self/mounts")


def check_storage(name: str, folder: Path, *, database: bool, network: bool) -> list[Check]:
    """Everything about a folder; it may not be there yet, then its nearest parent is looked at.

    Args:
        database: the ledger is kept in it.
        network: it may lie on another machine.
    """
    place = existing(folder)
    try:
        with _trial(place) as trial:
            checks = [_free(name, folder, place), _flush(name, trial), _lock(name, trial)]
            if database:
                checks.append(check_database(name, trial))
            checks.append(check_filesystem(name, folder, filesystem_of(place), database=database, network=network))
            return checks
    except OSError as error:
        mend = "name another folder, or make this one writable for the user who runs the network"
        return [bad(f"{name}.writable", f"{folder} cannot be written: {error.strerror}", mend)]


def existing(folder: Path) -> Path:
    """The folder, or the nearest parent that is there."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def filesystem_of(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of filesystem that a folder is on; empty where this system does not tell."""
    if not mounts.exists():
        return ""
    wanted, found = folder.resolve(), ("", "")
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, kind, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        if wanted.is_relative_to(place) and len(place) >= len(found[0]):
            found = place, kind
    return found[1]


def check_filesystem(name: str, folder: Path, kind: str, *, database: bool, network: bool) -> Check:
    """Whether a folder is on a kind of filesystem that suits what it is for."""
    name = f"{name}.filesystem"
    if kind not in NETWORK_KINDS and not kind.startswith("fuse."):
        return ok(name, f"{folder} is on this machine{f' ({kind})' if kind else ''}")
    if not network:
        return bad(name, f"{folder} is on {kind}, and each node's own disk is meant", "name a folder on a local disk")
    if database:
        mend = "set storage.ledger to a folder on each node's own disk; the home may stay where it is"
        return bad(name, f"{folder} is on {kind}: SQLite's log needs memory that machines do not share", mend)
    return ok(name, f"{folder} is on {kind}, and the ledger is elsewhere")


def check_database(name: str, folder: Path) -> Check:
    """Whether SQLite keeps a write-ahead log in a folder that a second connection reads."""
    name, mend = f"{name}.database", "put the ledger on a local disk (storage.ledger)"
    path = folder / "trial.db"
    try:
        with contextlib.closing(sqlite3.connect(path)) as one, contextlib.closing(sqlite3.connect(path)) as other:
            (mode,) = one.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                return bad(name, f"SQLite keeps no write-ahead log here, its mode is {mode!r}", mend)
            one.execute("CREATE TABLE t (n)")
            with one:
                one.execute("INSERT INTO t VALUES (1)")
                seen = other.execute("SELECT count(*) FROM t").fetchone()
            if seen != (0,) or other.execute("SELECT n FROM t").fetchall() != [(1,)]:
                return bad(name, "a second connection does not see what the first one wrote", mend)
    except sqlite3.Error as error:
        return bad(name, f"SQLite does not work here: {error}", mend)
    return ok(name, f"SQLite {sqlite3.sqlite_version} keeps its write-ahead log here")


@contextlib.contextmanager
def _trial(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as trial:
        yield Path(trial)


def _free(name: str, folder: Path, place: Path) -> Check:
    free = shutil.disk_usage(place).free
    name, seen = f"{name}.free", f"{folder}: {free / 2**30:,.1f} GiB are free"
    mend = "make room, set storage.keep_epochs, or name a larger disk"
    if free < LEAST_FREE_BYTES:
        return bad(name, seen, mend)
    return warn(name, seen, mend) if free < ENOUGH_FREE_BYTES else ok(name, seen)


def _flush(name: str, trial: Path) -> Check:
    """What is flushed is on the disk: how long that takes."""
    took: list[float] = []
    name = f"{name}.fsync"
    for index in range(FLUSHES):
        began = time.perf_counter()
        descriptor = os.open(trial / f"flush{index}", os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, bytes(4096))
            os.fsync(descriptor)
        except OSError as error:
            return bad(name, f"files cannot be flushed to the disk: {error.strerror}", "name a folder on another disk")
        finally:
            os.close(descriptor)
        took.append(time.perf_counter() - began)
    median = statistics.median(took)
    seen = f"flushing a file takes {median * 1e3:.1f} ms"
    if median > SLOW_FLUSH_S:
        return warn(name, f"{seen}: each block waits for several", "put the ledger on a quicker disk (storage.ledger)")
    return ok(name, seen)


def _lock(name: str, trial: Path) -> Check:
    """A file that is locked cannot be locked again."""
    name = f"{name}.lock"
    path = trial / "lock"
    one, other = os.open(path, os.O_RDWR | os.O_CREAT), os.open(path, os.O_RDWR)
    try:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ok(name, "files can be locked")
        return bad(name, "a locked file can be locked again", "mount it with locks: two drivers could run one home")
    except OSError as error:
        return bad(name, f"files cannot be locked: {error.strerror}", "mount it with locks, or name another folder")
    finally:
        os.close(one)
        os.close(other)

"""The SQLite file: tables of bytes, one transaction per block, one writer.

Invariants: write-ahead log with full synchronous commits, so a committed block survives the process and the machine; a
writer holds a file lock beside the database for as long as it is open; a row that can't be read is damage, a disk or
lock that says no is a StoreError, and neither passes for the other.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.errors import DamagedLedger, NotWriter, StoreError

FORMAT = 2
_BUSY_S = 10.0
_CACHE_KIB = 65536
"""A block of a large ledger changes a page for each account it touches; the default of 2 MiB holds 500 of them."""
_LOG_PAGES = 16384
"""Length of the log (64 MiB) at which it is written back: several large blocks, whose pages are then written once."""
_POLL_S = 0.05
_UNWILLING = {"PERM", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR", "FULL", "CANTOPEN", "PROTOCOL"}
"""SQLite's primary result codes for a machine that can't, as against data that are wrong."""

_SCHEMA = (
    "CREATE TABLE meta (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blocks (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, header BLOB NOT NULL,"
    " signature BLOB NOT NULL, hashes BLOB NOT NULL, receipts BLOB NOT NULL)",
    "CREATE TABLE bodies (height INTEGER PRIMARY KEY, extrinsics BLOB NOT NULL)",
    "CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE snapshot (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE metagraphs (epoch INTEGER PRIMARY KEY, hash BLOB NOT NULL, parquet BLOB NOT NULL)",
    "CREATE TABLE finality (epoch INTEGER PRIMARY KEY, members BLOB NOT NULL, way BLOB NOT NULL)",
    "CREATE TABLE votes (height INTEGER NOT NULL, hotkey BLOB NOT NULL, vote BLOB NOT NULL,"
    " PRIMARY KEY (height, hotkey)) WITHOUT ROWID",
)


class WriterLock:
    """An advisory lock on `<path>.lock`, held until released or until the process ends; the file names its holder's
    process id.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(timeout_s)
        except BaseException:
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def _acquire(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(self._file, 32, 0).decode("ascii", "replace") or "unknown"
                    raise NotWriter(f"process {holder} writes this ledger; stop it first ({self._path})") from None
            time.sleep(_POLL_S)

    def release(self) -> None:
        """Let another process write."""
        os.close(self._file)


class Database:
    """A connection; values come back as the bytes and whole numbers that were stored, or as DamagedLedger."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        mode = "rwc" if write else "ro"
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_S,
                isolation_level=None,
                # An actor is built in one thread and works in another; its methods run one at a time.
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise _translate(error, path, None) from error
        self._connection.text_factory = bytes
        if write:
            self.query("PRAGMA journal_mode = WAL")
            self.query("PRAGMA synchronous = FULL")
            self.query(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.query(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")

    def create_schema(self) -> None:
        """Make the tables that aren't there, inside the caller's transaction."""
        for statement in _SCHEMA:
            self.query(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
        self.query(f"PRAGMA user_version = {FORMAT}")

    def format(self) -> int:
        """The format that the file was written in; 0 if no tables have been made."""
        if not self.query("SELECT 1 FROM sqlite_schema WHERE name = 'blocks'", height=0):
            return 0
        return as_int(self.query("PRAGMA user_version", height=0)[0][0], 0, "the format")

    def has_schema(self) -> bool:
        """Whether the tables have been made; StoreError if they are of another format."""
        written = self.format()
        if written not in (0, FORMAT):
            what = "run `taoray ledger migrate`" if written < FORMAT else "use the version that wrote it"
            raise StoreError(f"{self.path}: the file has format {written}, this version reads {FORMAT}; {what}")
        return written == FORMAT

    def query(self, statement: str, values: tuple[bytes | int, ...] = (), *, height: int | None = None) -> list[Any]:
        """All rows of one statement; errors name `height`, what the caller is at."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _translate(error, self.path, height) from error
        except UnicodeDecodeError as error:
            # Of SQLite's message, where it quotes a damaged schema.
            raise DamagedLedger(height, f"{self.path}: SQLite's complaint is no text: {error.object!r}") from error

    def write_rows(self, statement: str, rows: Iterable[tuple[bytes | int, ...]]) -> None:
        """One statement for many rows, inside the caller's transaction."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _translate(error, self.path, None) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commit at the end, roll back on any exception."""
        self.query("BEGIN IMMEDIATE")
        try:
            yield
            self.query("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside is of one moment, whatever a writer commits meanwhile."""
        self.query("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; the last one writes the log back into the file."""
        self._connection.close()


@contextmanager
def new_database(path: Path) -> Iterator[Database]:
    """A database with empty tables that appears at `path` whole, when the block ends without an exception; else not at
    all.
    """
    partial = path.with_name(path.name + ".new")
    # A log left by a database that was removed would be read into the new one.
    for leftover in (path.name, partial.name):
        for suffix in ("-wal", "-shm"):
            path.with_name(leftover + suffix).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)
    database = Database(partial, write=True)
    try:
        with database.transaction():
            database.create_schema()
            yield database
    finally:
        database.close()
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def as_bytes(value: object, height: int | None, what: str) -> bytes:
    """The value, which has to be bytes; else DamagedLedger."""
    if not isinstance(value, bytes):
        raise DamagedLedger(height, f"{what} is stored as {type(value).__name__}, not as bytes")
    return value


def as_int(value: object, height: int | None, what: str) -> int:
    """The value, which has to be a whole number; else DamagedLedger."""
    if not isinstance(value, int):
        raise DamagedLedger(height, f"{what} is stored as {type(value).__name__}, not as a whole number")
    return value


def _translate(error: sqlite3.Error, path: Path, height: int | None) -> DamagedLedger | StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    primary = name.removeprefix("SQLITE_").split("_")[0]
    if primary in _UNWILLING:
        return StoreError(f"{path}: {error} ({name}); free disk space, check permissions, or stop who locks the file")
    return DamagedLedger(height, f"{path}: {error}")

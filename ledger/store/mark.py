"""The mark beside a ledger: how high it was committed and made final, told apart from the database itself.

A write-ahead log that was cut or damaged is not an error to SQLite: it reads up to the first frame whose checksum
fails, as if the rest had never been committed. Who went on from there would sign two blocks of one height, or break
its word about a term.

Invariants: written after the commit that it tells of, so a sound database is never behind it; a mark that is missing or
can't be read says nothing, so its own loss stops nobody.
"""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ledger.errors import DamagedLedger, StoreError
from ledger.store.database import Database
from ledger.store.rows import read_header, read_term, read_votes
from ledger.units import Natural

_WIDTH_BYTES = 256
"""Every mark has this size and is written over the last one at once, within one sector of a disk."""


class Mark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At some commit: the head (its hash in hex), how many votes it had, the highest final block, and the term."""

    height: Natural
    block_hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    head_votes: Natural
    final_height: Natural
    term: Natural


def mark_path(path: Path) -> Path:
    """Where a ledger's mark is."""
    return path.with_name(path.name + ".head")


def write_mark(path: Path, mark: Mark) -> None:
    """Move the ledger's mark; StoreError if the disk says no. Only the ledger's writer does this."""
    data = msgspec.json.encode(mark).ljust(_WIDTH_BYTES - 1) + b"\n"
    try:
        file = os.open(mark_path(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(file, data, 0)
        finally:
            os.close(file)
    except OSError as error:
        raise StoreError(f"{mark_path(path)}: the mark can't be written: {error.strerror}") from None


def read_mark(path: Path) -> Mark | None:
    """The ledger's mark, or None. Read it before the database: a writer moves both, the database first."""
    try:
        return msgspec.json.decode(mark_path(path).read_bytes(), type=Mark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def check_head(mark: Mark | None, database: Database, height: int) -> None:
    """DamagedLedger unless the database, whose head has this height, has what the mark tells of."""
    if mark is None or _gave_way(mark, read_mark(database.path)):
        return
    if height < mark.height:
        lost = f"blocks {height + 1} to {mark.height} were committed and are gone"
        raise DamagedLedger(height + 1, f"{lost}, as after damage to the write-ahead log: {_remedy(database)}")
    if read_header(database, mark.height).hash.hex() != mark.block_hash:
        raise DamagedLedger(mark.height, f"another block was committed at this height: {_remedy(database)}")
    if read_term(database, height) < mark.term:
        raise DamagedLedger(height, f"term {mark.term} was promised, and that is gone: {_remedy(database)}")
    if len(read_votes(database, mark.height)) < mark.head_votes:
        raise DamagedLedger(mark.height, f"votes for the block are gone: {_remedy(database)}")


def check_final(mark: Mark | None, database: Database, final_height: int) -> None:
    """DamagedLedger if a block was final and the votes that are left no longer suffice."""
    if mark is not None and final_height < mark.final_height:
        raise DamagedLedger(mark.final_height, f"the block was final, and votes for it are gone: {_remedy(database)}")


def _gave_way(before: Mark, now: Mark | None) -> bool:
    """Whether the writer took the head back since the mark was read, so that the mark says nothing any more."""
    return (
        now is None
        or now.height < before.height
        or (now.height == before.height and now.block_hash != before.block_hash)
    )


def _remedy(database: Database) -> str:
    kept = f"restore {database.path} and its -wal file from a copy"
    return f"{kept}; to give up what is lost, remove {mark_path(database.path).name}"

"""Migration: an older file brought to this version's format, one step a format.

Invariants: each step is one transaction with the format's number in it, so a file is of the old format or of the new
one, whole; a step derives the ledger again from its genesis, so a damaged file is refused and not carried over.
"""

from collections.abc import Callable, Iterator

import msgspec

from ledger.blocks import Block
from ledger.errors import DamagedLedger, StoreError
from ledger.state import FINALITY_KEY
from ledger.store.database import FORMAT, Database, as_bytes, as_int
from ledger.store.replay import replay
from ledger.store.rows import read_genesis, write_body, write_finality_set


def migrate(database: Database) -> int:
    """Bring the file to this version's format; the format it had. StoreError if it is newer than this version.

    The file is open to write, and its writer's lock is held.
    """
    first = written = database.format()
    if written > FORMAT:
        raise StoreError(f"{database.path}: the file has format {written}, this version writes {FORMAT}; use its own")
    while 0 < written < FORMAT:
        with database.transaction():
            _STEPS[written](database)
            written += 1
            database.query(f"PRAGMA user_version = {written}")
    return first


def _split_blocks(database: Database) -> None:
    """Format 1 kept a block as one value. Format 2 keeps its outline apart from its body, which may be pruned, and with
    each finality set the way that proves it under a close block's state root.
    """
    genesis = read_genesis(database)
    database.query("ALTER TABLE blocks RENAME TO blocks_of_format_1")
    database.query("DROP TABLE finality")
    database.create_schema()
    for block, state in replay(genesis, _read_format_1(database)):
        write_body(database, block)
        if block.header.kind in ("genesis", "close"):
            way = state.find(FINALITY_KEY)
            for epoch in (0, 1) if block.height == 0 else (block.header.epoch + 1,):
                write_finality_set(database, epoch, state.finality_set, way)
    database.query("DROP TABLE blocks_of_format_1")


def _read_format_1(database: Database) -> Iterator[Block]:
    heights = database.query("SELECT height FROM blocks_of_format_1 ORDER BY height", height=0)
    for height in (as_int(row[0], 0, "a height") for row in heights):
        statement = "SELECT block FROM blocks_of_format_1 WHERE height = ?"
        encoded = as_bytes(database.query(statement, (height,), height=height)[0][0], height, "the block")
        try:
            yield msgspec.msgpack.decode(encoded, type=Block)
        except ValueError as error:
            raise DamagedLedger(height, f"the block can't be read: {error}") from None


_STEPS: dict[int, Callable[[Database], None]] = {1: _split_blocks}

"""The rows of a chain: how blocks, votes, finality sets and the term stand in the database, read and written.

Invariants: what is read is decoded and compared with its key, and is DamagedLedger with a height where it differs;
writing happens inside the caller's transaction.
"""

import msgspec

from ledger.blocks import Block, decode_block, encode_block
from ledger.entries import FinalitySet, Weighted
from ledger.errors import DamagedLedger, GenesisError
from ledger.genesis import Genesis, decode_genesis
from ledger.state import Sealed
from ledger.store.database import Database, as_bytes, as_int
from ledger.trust.finality import Vote, decode_vote


def read_genesis(database: Database) -> Genesis:
    """The stored genesis."""
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"genesis",), height=0)
    if not rows:
        raise DamagedLedger(0, "the genesis is missing")
    try:
        return decode_genesis(as_bytes(rows[0][0], 0, "the genesis"))
    except GenesisError as error:
        raise DamagedLedger(0, f"the genesis can't be read: {error}") from None


def read_term(database: Database, height: int) -> int:
    """The term's row; errors name the head's height."""
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"term",), height=height)
    return as_int(rows[0][0] if rows else None, height, "the term")


def read_block(database: Database, height: int) -> Block:
    """One block, whose stored hash and height are compared with its header."""
    rows = database.query("SELECT hash, block FROM blocks WHERE height = ?", (height,), height=height)
    if not rows:
        raise DamagedLedger(height, "the block is missing")
    stored_hash, encoded = rows[0]
    try:
        block = decode_block(as_bytes(encoded, height, "the block"))
    except ValueError as error:
        raise DamagedLedger(height, f"the block can't be read: {error}") from None
    if block.height != height or block.hash != stored_hash:
        raise DamagedLedger(height, "the block's header is not what its hash and height say")
    return block


def read_votes(database: Database, height: int) -> list[Vote]:
    """The votes stored for a block, by hotkey."""
    rows = database.query("SELECT hotkey, vote FROM votes WHERE height = ? ORDER BY hotkey", (height,), height=height)
    try:
        votes = [decode_vote(as_bytes(encoded, height, "a vote")) for _, encoded in rows]
    except ValueError as error:
        raise DamagedLedger(height, f"a vote can't be read: {error}") from None
    for (hotkey, _), vote in zip(rows, votes, strict=True):
        if vote.hotkey != hotkey or vote.height != height:
            raise DamagedLedger(height, "a vote is stored under another hotkey or height than it names")
    return votes


def read_finality_set(database: Database, epoch: int, height: int) -> tuple[Weighted, ...]:
    """The stored finality set of an epoch; errors name the height of a block that it votes on."""
    rows = database.query("SELECT members FROM finality WHERE epoch = ?", (epoch,), height=height)
    try:
        encoded = as_bytes(rows[0][0] if rows else None, height, "the finality set")
        return msgspec.msgpack.decode(encoded, type=FinalitySet).members
    except ValueError as error:
        raise DamagedLedger(height, f"the finality set of epoch {epoch} can't be read: {error}") from None


def write_block(database: Database, block: Block, sealed: Sealed) -> None:
    """Store a block and the state rows that it changed."""
    database.query("INSERT INTO blocks VALUES (?, ?, ?)", (block.height, block.hash, encode_block(block)))
    for key, value in sealed.rows:
        if value is None:
            database.query("DELETE FROM state WHERE key = ?", (key,))
        else:
            database.query("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))


def write_finality_set(database: Database, epoch: int, members: tuple[Weighted, ...]) -> None:
    """Store who votes on the blocks of an epoch."""
    encoded = msgspec.msgpack.encode(FinalitySet(members=members))
    database.query("INSERT OR REPLACE INTO finality VALUES (?, ?)", (epoch, encoded))

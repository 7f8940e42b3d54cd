"""The rows of a chain: how blocks, votes, finality sets and the term stand in the database, read and written.

Invariants: what is read is decoded and compared with its key, and is DamagedLedger with a height where it differs;
writing happens inside the caller's transaction.
"""

from typing import NamedTuple

import msgspec

from ledger.blocks import Block, Header
from ledger.entries import FinalitySet, Weighted
from ledger.errors import DamagedLedger, GenesisError, Pruned
from ledger.genesis import Genesis, decode_genesis
from ledger.state import Sealed
from ledger.store.database import Database, as_bytes, as_int
from ledger.trust.finality import Vote, decode_vote
from ledger.trust.trie import Found
from ledger.units import blake2b_256

_HASH_BYTES = 32
_ENCODER = msgspec.msgpack.Encoder()


class Outline(NamedTuple):
    """What is kept of every block, whether its body is there or not."""

    header: Header
    signature: bytes
    hashes: tuple[bytes, ...]
    """Of the extrinsics, in their order."""
    receipts: tuple[str, ...]


class ProvenSet(NamedTuple):
    """Who votes in an epoch, and the way that proves it under the state root of the close block before."""

    members: tuple[Weighted, ...]
    encoded: bytes
    way: Found


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


def read_pruned_height(database: Database) -> int:
    """The height up to which bodies have been given up, 0 if none; the snapshot is the state after that block."""
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"pruned",), height=0)
    return as_int(rows[0][0], 0, "the height of the snapshot") if rows else 0


def read_header(database: Database, height: int) -> Header:
    """One block's header, which has to have the stored hash and this height."""
    return read_outline(database, height).header


def read_outline(database: Database, height: int) -> Outline:
    """One block without its extrinsics' bytes; the stored hash and height are compared with its header."""
    statement = "SELECT hash, header, signature, hashes, receipts FROM blocks WHERE height = ?"
    rows = database.query(statement, (height,), height=height)
    if not rows:
        raise DamagedLedger(height, "the block is missing")
    stored_hash, encoded, signature, joined, receipts = (as_bytes(part, height, "the block") for part in rows[0])
    try:
        outline = Outline(
            header=msgspec.msgpack.decode(encoded, type=Header),
            signature=signature,
            hashes=tuple(joined[at : at + _HASH_BYTES] for at in range(0, len(joined), _HASH_BYTES)),
            receipts=msgspec.msgpack.decode(receipts, type=tuple[str, ...]),
        )
    except ValueError as error:
        raise DamagedLedger(height, f"the block can't be read: {error}") from None
    if outline.header.height != height or outline.header.hash != stored_hash:
        raise DamagedLedger(height, "the block's header is not what its hash and height say")
    if (_ENCODER.encode(outline.header), _ENCODER.encode(outline.receipts)) != (encoded, receipts):
        raise DamagedLedger(height, "the block is not in its canonical encoding")
    return outline


def read_block(database: Database, height: int) -> Block:
    """One block; Pruned if its body was given up."""
    outline = read_outline(database, height)
    rows = database.query("SELECT extrinsics FROM bodies WHERE height = ?", (height,), height=height)
    if not rows:
        pruned = read_pruned_height(database)
        if pruned and height <= pruned:
            raise Pruned(f"the body of block {height} was pruned; a copy of the ledger from before has it")
        raise DamagedLedger(height, "the block's body is missing")
    encoded = as_bytes(rows[0][0], height, "the block's body")
    try:
        extrinsics = msgspec.msgpack.decode(encoded, type=tuple[bytes, ...])
    except ValueError as error:
        raise DamagedLedger(height, f"the block's body can't be read: {error}") from None
    if tuple(blake2b_256(data) for data in extrinsics) != outline.hashes or _ENCODER.encode(extrinsics) != encoded:
        raise DamagedLedger(height, "the block's body is not the one that its hashes say")
    return Block(header=outline.header, extrinsics=extrinsics, receipts=outline.receipts, signature=outline.signature)


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


def read_finality_set(database: Database, epoch: int, height: int) -> ProvenSet:
    """The stored finality set of an epoch; errors name the height of a block that it votes on."""
    rows = database.query("SELECT members, way FROM finality WHERE epoch = ?", (epoch,), height=height)
    try:
        encoded, way = (as_bytes(part, height, "the finality set") for part in (rows[0] if rows else (None, None)))
        members = msgspec.msgpack.decode(encoded, type=FinalitySet).members
        return ProvenSet(members, encoded, msgspec.msgpack.decode(way, type=Found))
    except ValueError as error:
        raise DamagedLedger(height, f"the finality set of epoch {epoch} can't be read: {error}") from None


def find_extrinsic(database: Database, extrinsic_hash: bytes, since: int) -> tuple[int, int] | None:
    """Height and place of an extrinsic in the blocks from `since`, found by a scan over 32 bytes each."""
    statement = "SELECT height, hashes FROM blocks WHERE height >= ? AND instr(hashes, ?) ORDER BY height"
    for height, joined in database.query(statement, (since, extrinsic_hash)):
        hashes = as_bytes(joined, height, "the block")
        at = hashes.find(extrinsic_hash)
        while at >= 0 and at % _HASH_BYTES:
            at = hashes.find(extrinsic_hash, at + 1)
        if at >= 0:
            return as_int(height, None, "a height"), at // _HASH_BYTES
    return None


def write_block(database: Database, block: Block, sealed: Sealed) -> None:
    """Store a block and the state rows that it changed."""
    write_body(database, block)
    changed = [(key, value) for key, value in sealed.rows if value is not None]
    removed = [(key,) for key, value in sealed.rows if value is None]
    database.write_rows("INSERT OR REPLACE INTO state VALUES (?, ?)", changed)
    database.write_rows("DELETE FROM state WHERE key = ?", removed)


def write_body(database: Database, block: Block) -> None:
    """Store a block alone."""
    hashes = b"".join(blake2b_256(data) for data in block.extrinsics)
    header, receipts = _ENCODER.encode(block.header), _ENCODER.encode(block.receipts)
    outline = (block.height, block.hash, header, block.signature, hashes, receipts)
    database.query("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)", outline)
    database.query("INSERT INTO bodies VALUES (?, ?)", (block.height, _ENCODER.encode(block.extrinsics)))


def write_finality_set(database: Database, epoch: int, members: tuple[Weighted, ...], way: Found | None) -> None:
    """Store who votes on the blocks of an epoch, with the way to that entry in the state that fixed it."""
    encoded = msgspec.msgpack.encode(FinalitySet(members=members))
    values = (epoch, encoded, msgspec.msgpack.encode(way))
    database.query("INSERT OR REPLACE INTO finality VALUES (?, ?, ?)", values)

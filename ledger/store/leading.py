"""What a chain's file keeps for finality: the term, the mandates, the last vote of a key (also one given on another
disk), and how to take back a head that never became final.

Invariants: written inside the caller's transaction; a head can be taken back once, to its parent, exactly.
"""

import msgspec

from ledger.blocks import Block, Header, decode_block, encode_block
from ledger.errors import DamagedLedger
from ledger.state import State
from ledger.store.database import Database, as_bytes
from ledger.trust.finality import Vote, decode_vote, encode_vote
from ledger.trust.terms import Mandate

_OLD_ROWS = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None]])


def read_mandate(database: Database, term: int, height: int) -> Mandate | None:
    """The mandate of a term, None where this chain has seen none; errors name the head's height."""
    rows = database.query("SELECT value FROM meta WHERE name = ?", (_mandate_name(term),), height=height)
    if not rows:
        return None
    try:
        return msgspec.msgpack.decode(as_bytes(rows[0][0], height, "the mandate"), type=Mandate)
    except ValueError as error:
        raise DamagedLedger(height, f"the mandate can't be read: {error}") from None


def write_term(database: Database, term: int, mandate: Mandate | None) -> None:
    """Move the term's row, and keep its mandate if there is one; those of earlier terms stay."""
    database.query("UPDATE meta SET value = ? WHERE name = ?", (term, b"term"))
    if mandate is not None:
        write_mandate(database, mandate)


def write_mandate(database: Database, mandate: Mandate) -> None:
    """Keep the mandate of a term."""
    encoded = msgspec.msgpack.encode(mandate)
    database.query("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_mandate_name(mandate.term), encoded))


def read_last_vote(database: Database, hotkey: bytes, height: int) -> Vote | None:
    """The vote of a key on the highest block that it voted on, here or on a disk that is lost; that is also its
    latest.
    """
    found = (_read_own_vote(database, hotkey, height), _read_bound_vote(database, height))
    votes = [vote for vote in found if vote is not None and vote.hotkey == hotkey]
    return max(votes, key=lambda vote: (vote.term, vote.height), default=None)


def read_bound_block(database: Database, height: int) -> Block | None:
    """The block of the last vote that was given on another disk; None where nothing is known of one."""
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"bound block",), height=height)
    try:
        return decode_block(as_bytes(rows[0][0], height, "the block signed elsewhere")) if rows else None
    except ValueError as error:
        raise DamagedLedger(height, f"the block signed elsewhere can't be read: {error}") from None


def write_bound(database: Database, vote: Vote, block: Block) -> None:
    """Keep a vote that was given on another disk, and its block, which need not be in this chain."""
    for name, value in ((b"bound", encode_vote(vote)), (b"bound block", encode_block(block))):
        database.query("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _read_bound_vote(database: Database, height: int) -> Vote | None:
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"bound",), height=height)
    try:
        return decode_vote(as_bytes(rows[0][0], height, "the vote given elsewhere")) if rows else None
    except ValueError as error:
        raise DamagedLedger(height, f"the vote given elsewhere can't be read: {error}") from None


def _read_own_vote(database: Database, hotkey: bytes, height: int) -> Vote | None:
    rows = database.query(
        "SELECT vote FROM votes WHERE hotkey = ? ORDER BY height DESC LIMIT 1", (hotkey,), height=height
    )
    try:
        return decode_vote(as_bytes(rows[0][0], height, "a vote")) if rows else None
    except ValueError as error:
        raise DamagedLedger(height, f"a vote can't be read: {error}") from None


def write_undo(database: Database, state: State) -> None:
    """Keep what the block that is being stored overwrites in the state, in place of what its parent overwrote."""
    encoded = msgspec.msgpack.encode(state.previous_rows())
    database.query("INSERT OR REPLACE INTO meta VALUES (?, ?)", (b"undo", encoded))


def remove_head(database: Database, head: Header) -> None:
    """Take the head's block, votes and finality set away, and put the state rows back; DamagedLedger where the rows to
    put back are not kept: the head has been taken back once already.
    """
    rows = database.query("SELECT value FROM meta WHERE name = ?", (b"undo",), height=head.height)
    try:
        old_rows = _OLD_ROWS.decode(as_bytes(rows[0][0] if rows else None, head.height, "what the head overwrote"))
    except ValueError as error:
        raise DamagedLedger(head.height, f"what the head overwrote can't be read: {error}") from None
    for key, value in old_rows:
        if value is None:
            database.query("DELETE FROM state WHERE key = ?", (key,))
        else:
            database.query("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))
    database.query("DELETE FROM meta WHERE name = ?", (b"undo",))
    database.query("DELETE FROM blocks WHERE height = ?", (head.height,))
    database.query("DELETE FROM bodies WHERE height = ?", (head.height,))
    database.query("DELETE FROM votes WHERE height = ?", (head.height,))
    if head.kind == "close":
        database.query("DELETE FROM finality WHERE epoch = ?", (head.epoch + 1,))


def _mandate_name(term: int) -> bytes:
    return b"mandate" + term.to_bytes(8, "big")

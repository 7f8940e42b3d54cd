"""The mempool: signed extrinsics waiting for a block, in a small SQLite file that every process may write.

Invariants: only what decodes, is in bounds and is signed for this network gets in; a submitted extrinsic survives a
crash; nothing leaves before the block that took it is committed (the keeper removes it afterwards); what can never be
applied any more is dropped.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ledger.blocks import Block, Kind
from ledger.errors import Refusal
from ledger.execution import accepts
from ledger.extrinsics import Extrinsic, Register, check_signature, decode_extrinsic
from ledger.parameters import Parameters
from ledger.rules.timing import validate_in_time
from ledger.state import State
from ledger.store.database import Database, as_bytes
from ledger.units import blake2b_256

DEFAULT_MAX_BYTES = Parameters().max_extrinsic_bytes
MAX_WAITING = 100_000
MAX_WAITING_BYTES = 1 << 28
"""Above either the mempool refuses. Most extrinsics have 200 bytes; a reveal may have as many as the network allows."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS waiting (row_id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,"
    " signer BLOB NOT NULL, nonce INTEGER NOT NULL, extrinsic BLOB NOT NULL)"
)


class Selection(NamedTuple):
    """What goes into the next block, and the rows to remove from the mempool after it is committed."""

    extrinsics: list[bytes]
    taken: list[int]
    dropped: list[int]


class Mempool:
    """The queue of one network."""

    def __init__(self, path: str | Path, genesis_hash: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._genesis_hash = genesis_hash
        self._max_bytes = max_bytes
        self._database = Database(path, write=True)
        self._database.query(_SCHEMA)

    def submit(self, data: bytes) -> bytes:
        """Queue an encoded extrinsic and give its hash; Refusal if it could never be in a block. Twice is once."""
        extrinsic = decode_extrinsic(data, max_bytes=self._max_bytes)
        check_signature(extrinsic, self._genesis_hash)
        extrinsic_hash = blake2b_256(data)
        with self._database.transaction():
            count, size_bytes = self._database.query("SELECT count(*), sum(length(extrinsic)) FROM waiting")[0]
            if count >= MAX_WAITING or (count and size_bytes + len(data) > MAX_WAITING_BYTES):
                raise Refusal("mempool_full", f"{count} extrinsics are waiting already; try again later")
            self._database.query(
                "INSERT OR IGNORE INTO waiting (hash, signer, nonce, extrinsic) VALUES (?, ?, ?, ?)",
                (extrinsic_hash, extrinsic.signer, extrinsic.nonce, data),
            )
        return extrinsic_hash

    def pending(self, limit: int = MAX_WAITING, after: int = 0) -> list[tuple[int, bytes]]:
        """The oldest waiting extrinsics behind a row, as (row id, encoded extrinsic)."""
        query = "SELECT row_id, extrinsic FROM waiting WHERE row_id > ? ORDER BY row_id LIMIT ?"
        rows = self._database.query(query, (after, limit))
        return [(row_id, as_bytes(data, None, "a waiting extrinsic")) for row_id, data in rows]

    def remove_included(self, block: Block) -> None:
        """Forget what is in a block: after a crash between a block's commit and `remove`, called with the head."""
        self.forget(blake2b_256(data) for data in block.extrinsics)

    def forget(self, hashes: Iterable[bytes]) -> None:
        """Forget extrinsics by their hashes; those that do not wait don't matter."""
        with self._database.transaction():
            for extrinsic_hash in hashes:
                self._database.query("DELETE FROM waiting WHERE hash = ?", (extrinsic_hash,))

    def remove(self, row_ids: Iterable[int]) -> None:
        """Forget rows; those that are gone already don't matter."""
        with self._database.transaction():
            for row_id in row_ids:
                self._database.query("DELETE FROM waiting WHERE row_id = ?", (row_id,))

    def next_nonce(self, public: bytes, state_nonce: int) -> int:
        """The nonce for the signer's next extrinsic: after the last applied one, and after those that wait in order."""
        rows = self._database.query("SELECT nonce FROM waiting WHERE signer = ? AND nonce > ?", (public, state_nonce))
        waiting = {row[0] for row in rows}
        nonce = state_nonce + 1
        while nonce in waiting:
            nonce += 1
        return nonce

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def select(pending: Sequence[tuple[int, bytes]], state: State, kind: Kind, height: int) -> Selection:
    """What the next block, of this kind and height, takes: oldest first, each signer's in order of nonce, within the
    block's size.

    What waits for its phase, for an earlier nonce, for room or for its signer's registration stays; what is spent,
    expired or broken is dropped.
    """
    selection = Selection([], [], [])
    waiting: list[tuple[int, bytes, Extrinsic]] = []
    for row_id, data in pending:
        extrinsic = _decode(data, state)
        if extrinsic is None or extrinsic.valid_until < height or _is_past(extrinsic, state, kind):
            selection.dropped.append(row_id)
        else:
            waiting.append((row_id, data, extrinsic))
    _take_in_order(waiting, selection, state, kind)
    return selection


def _decode(data: bytes, state: State) -> Extrinsic | None:
    try:
        extrinsic = decode_extrinsic(data, max_bytes=state.parameters.max_extrinsic_bytes)
        check_signature(extrinsic, state.genesis_hash)
    except Refusal:
        return None
    return extrinsic


def _is_past(extrinsic: Extrinsic, state: State, kind: Kind) -> bool:
    """Whether its nonce is spent, or it is a vote or an update whose block has gone by."""
    try:
        validate_in_time(state, kind, extrinsic.call)
    except Refusal:
        return True
    return extrinsic.nonce <= state.nonce(extrinsic.signer)


def _take_in_order(waiting: list[tuple[int, bytes, Extrinsic]], selection: Selection, state: State, kind: Kind) -> None:
    """Sweep until a sweep takes nothing: a signer's extrinsics may have come in another order than their nonces."""
    next_nonce: dict[bytes, int] = {}
    room_bytes = state.parameters.max_block_bytes
    unborn = {
        extrinsic.call.hotkey
        for _, _, extrinsic in waiting
        if isinstance(extrinsic.call, Register) and state.slots.get(extrinsic.call.hotkey) is None
    }
    while True:
        later: list[tuple[int, bytes, Extrinsic]] = []
        for row_id, data, extrinsic in waiting:
            expected = next_nonce.get(extrinsic.signer, state.nonce(extrinsic.signer) + 1)
            takes = accepts(kind, extrinsic.call) and extrinsic.signer not in unborn
            if extrinsic.nonce == expected and takes and len(data) <= room_bytes:
                next_nonce[extrinsic.signer] = expected + 1
                if isinstance(extrinsic.call, Register):
                    unborn.discard(extrinsic.call.hotkey)
                room_bytes -= len(data)
                selection.extrinsics.append(data)
                selection.taken.append(row_id)
            else:
                later.append((row_id, data, extrinsic))
        if len(later) == len(waiting):
            return
        waiting = later

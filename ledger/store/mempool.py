"""The mempool: signed extrinsics waiting for a block, in a small SQLite file that every process may write.

Invariants: only what decodes, is in bounds and is signed for this network gets in; a submitted extrinsic survives a
crash; nothing leaves before the block that took it is committed (the keeper removes it afterwards); what can never be
applied any more is dropped.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
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
    " signer BLOB NOT NULL, nonce INTEGER NOT NULL, extrinsic BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS signed ON waiting (signer, nonce)",
    # What waits is counted as it comes and goes: to count it for each that comes would take as long as all of it.
    "CREATE TABLE IF NOT EXISTS totals (extrinsics INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals SELECT count(*), coalesce(sum(length(extrinsic)), 0) FROM waiting"
    " WHERE NOT EXISTS (SELECT 1 FROM totals)",
    "CREATE TRIGGER IF NOT EXISTS came AFTER INSERT ON waiting BEGIN UPDATE totals"
    " SET extrinsics = extrinsics + 1, bytes = bytes + length(NEW.extrinsic); END",
    "CREATE TRIGGER IF NOT EXISTS went AFTER DELETE ON waiting BEGIN UPDATE totals"
    " SET extrinsics = extrinsics - 1, bytes = bytes - length(OLD.extrinsic); END",
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
        if not self._database.query("SELECT 1 FROM sqlite_schema WHERE name = 'went'"):
            with self._database.transaction():
                for statement in _SCHEMA:
                    self._database.query(statement)

    def submit(self, data: bytes) -> bytes:
        """Queue an encoded extrinsic and give its hash; Refusal if it could never be in a block. Twice is once."""
        [refusal] = self.submit_all([data])
        if refusal is not None:
            raise refusal
        return blake2b_256(data)

    def submit_all(self, extrinsics: Sequence[bytes]) -> list[Refusal | None]:
        """Queue several in one durable write: for each None, or why it could never be in a block."""
        outcomes: list[Refusal | None] = []
        rows: list[tuple[int, Extrinsic, bytes]] = []
        for place, data in enumerate(extrinsics):
            try:
                extrinsic = decode_extrinsic(data, max_bytes=self._max_bytes)
                check_signature(extrinsic, self._genesis_hash)
            except Refusal as refusal:
                outcomes.append(refusal)
            else:
                outcomes.append(None)
                rows.append((place, extrinsic, data))
        with self._database.transaction():
            for place, extrinsic, data in rows:
                outcomes[place] = self._insert(extrinsic, data)
        return outcomes

    def _insert(self, extrinsic: Extrinsic, data: bytes) -> Refusal | None:
        count, size_bytes = self._database.query("SELECT extrinsics, bytes FROM totals")[0]
        if count >= MAX_WAITING or (count and size_bytes + len(data) > MAX_WAITING_BYTES):
            return Refusal("mempool_full", f"{count} extrinsics are waiting already; try again later")
        self._database.query(
            "INSERT OR IGNORE INTO waiting (hash, signer, nonce, extrinsic) VALUES (?, ?, ?, ?)",
            (blake2b_256(data), extrinsic.signer, extrinsic.nonce, data),
        )
        return None

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


class _Turns:
    """Extrinsics in the order of repeated sweeps over the queue, each of which takes what the one before made ready;
    without the sweeps, for a queue in the wrong order would need as many as it is long.
    """

    def __init__(self) -> None:
        self._turns: list[tuple[int, int]] = []
        self._now = (0, -1)

    def add(self, places: Iterable[int]) -> None:
        """These places of the queue are ready: in this sweep if it has not passed them, else in the next."""
        sweep, at = self._now
        for place in places:
            heapq.heappush(self._turns, (sweep + (place <= at), place))

    def __iter__(self) -> Iterator[int]:
        while self._turns:
            self._now = heapq.heappop(self._turns)
            yield self._now[1]


def _take_in_order(waiting: list[tuple[int, bytes, Extrinsic]], selection: Selection, state: State, kind: Kind) -> None:
    """Take what is ready: a signer's extrinsics may have come in another order than their nonces, or before it is
    registered.
    """
    room_bytes = state.parameters.max_block_bytes
    next_nonce: dict[bytes, int] = {}
    by_nonce: dict[tuple[bytes, int], list[int]] = {}
    unborn: dict[bytes, list[int]] = {}
    for place, (_, _, extrinsic) in enumerate(waiting):
        by_nonce.setdefault((extrinsic.signer, extrinsic.nonce), []).append(place)
        next_nonce.setdefault(extrinsic.signer, state.nonce(extrinsic.signer) + 1)
        if isinstance(extrinsic.call, Register) and state.slots.get(extrinsic.call.hotkey) is None:
            unborn[extrinsic.call.hotkey] = []
    turns = _Turns()
    for turn in next_nonce.items():
        turns.add(by_nonce.get(turn, ()))
    for place in turns:
        row_id, data, extrinsic = waiting[place]
        signer = extrinsic.signer
        if signer in unborn:
            unborn[signer].append(place)
        elif extrinsic.nonce == next_nonce[signer] and accepts(kind, extrinsic.call) and len(data) <= room_bytes:
            room_bytes -= len(data)
            selection.extrinsics.append(data)
            selection.taken.append(row_id)
            next_nonce[signer] += 1
            turns.add(by_nonce.get((signer, next_nonce[signer]), ()))
            if isinstance(extrinsic.call, Register):
                turns.add(unborn.pop(extrinsic.call.hotkey, ()))

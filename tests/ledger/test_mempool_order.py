"""The queue at length: what waits is counted as it comes and goes; a block takes it in the order of plain sweeps."""

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Refusal
from ledger.extrinsics import Call, CommitWeights, Extrinsic, Publish, Register, Transfer
from ledger.keys import Keypair
from ledger.state import State
from ledger.store import mempool as module
from ledger.store.mempool import Mempool, Selection, _take_in_order
from ledger.units import RAO_PER_TAO

SIGNERS = [bytes([index]) * 32 for index in range(4)]
Waiting = list[tuple[int, bytes, Extrinsic]]


def sweep(waiting: Waiting, state: State, room_bytes: int) -> list[int]:
    """As it is easiest to read: sweep over the queue until a sweep takes nothing."""
    next_nonce: dict[bytes, int] = {}
    taken: list[int] = []
    unborn = {e.call.hotkey for _, _, e in waiting if isinstance(e.call, Register)} - set(state.slots.entries)
    while True:
        later: Waiting = []
        for row_id, data, extrinsic in waiting:
            expected = next_nonce.get(extrinsic.signer, state.nonce(extrinsic.signer) + 1)
            takes = not isinstance(extrinsic.call, CommitWeights) and extrinsic.signer not in unborn
            if extrinsic.nonce == expected and takes and len(data) <= room_bytes:
                next_nonce[extrinsic.signer] = expected + 1
                if isinstance(extrinsic.call, Register):
                    unborn.discard(extrinsic.call.hotkey)
                room_bytes -= len(data)
                taken.append(row_id)
            else:
                later.append((row_id, data, extrinsic))
        if len(later) == len(waiting):
            return taken
        waiting = later


def call_of(number: int) -> Call:
    if number < 3:
        return Publish(manifest=bytes(32))
    if number < 4:
        return CommitWeights(epoch=1, commitment=bytes(32))
    return Register(hotkey=SIGNERS[number - 4], name="newcomer", max_price_rao=1)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(0, 7), st.integers(1, 9)), max_size=24),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.integers(0, 3),
    st.integers(5, 80),
)
@settings(max_examples=150, deadline=None)
def test_a_block_takes_what_sweeps_over_the_queue_would_take_in_their_order(
    queue: list[tuple[int, int, int, int]], nonces: list[int], born: int, room_bytes: int
) -> None:
    state: Any = SimpleNamespace(
        nonce=lambda signer: nonces[SIGNERS.index(signer)],
        slots=SimpleNamespace(entries={SIGNERS[born]: 0}, get=lambda hotkey: 0 if hotkey == SIGNERS[born] else None),
        parameters=SimpleNamespace(max_block_bytes=room_bytes),
    )
    waiting: Waiting = [
        (
            row_id,
            bytes(size),
            Extrinsic(call=call_of(call), signer=SIGNERS[signer], nonce=nonce, valid_until=9, signature=bytes(64)),
        )
        for row_id, (signer, nonce, call, size) in enumerate(queue)
    ]
    selection = Selection([], [], [])
    _take_in_order(waiting, selection, state, "open")
    assert selection.taken == sweep(waiting, state, room_bytes)


def test_what_waits_is_counted_as_it_comes_and_goes(network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "mempool.db"
    queue = Mempool(path, network.chain.genesis_hash)
    call = Transfer(to=network.hotkeys[0].public, amount_rao=RAO_PER_TAO)
    first, second, third = (network.sign(call, network.treasury) for _ in range(3))
    assert queue.submit_all([first, second, first, b"\xc1"])[:3] == [None, None, None]
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    with pytest.raises(Refusal, match="mempool_full"):
        queue.submit(third)
    queue.remove([queue.pending()[0][0]])
    assert queue.submit(third)
    monkeypatch.setattr(module, "MAX_WAITING", 9)
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", len(second) + len(third))
    [refused] = queue.submit_all([first])
    assert refused is not None
    assert refused.code == "mempool_full"
    queue.close()


def test_a_queue_of_an_earlier_version_is_counted_when_it_is_opened(network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "mempool.db"
    call = Transfer(to=network.hotkeys[0].public, amount_rao=RAO_PER_TAO)
    data = network.sign(call, network.treasury)
    with sqlite3.connect(path) as before:
        before.execute(
            "CREATE TABLE waiting (row_id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,"
            " signer BLOB NOT NULL, nonce INTEGER NOT NULL, extrinsic BLOB NOT NULL)"
        )
        before.execute("INSERT INTO waiting VALUES (1, ?, ?, 1, ?)", (bytes(32), network.treasury.public, data))
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    queue = Mempool(path, network.chain.genesis_hash)
    with pytest.raises(Refusal, match="mempool_full"):
        queue.submit(network.sign(call, network.treasury))
    queue.close()


def test_thousands_in_the_wrong_order_are_taken_at_once(network) -> None:
    """Counted in comparisons of nonces: a sweep for each of them would make millions."""
    asked = 0

    def nonce(signer: bytes) -> int:
        nonlocal asked
        asked += 1
        return 0

    signer = Keypair.from_seed(bytes(32)).public
    state: Any = SimpleNamespace(
        nonce=nonce,
        slots=SimpleNamespace(get=lambda hotkey: None),
        parameters=SimpleNamespace(max_block_bytes=1 << 24),
    )
    waiting = [
        (row, b"", Extrinsic(call=call_of(0), signer=signer, nonce=3000 - row, valid_until=9, signature=bytes(64)))
        for row in range(3000)
    ]
    selection = Selection([], [], [])
    _take_in_order(waiting, selection, state, "open")
    assert selection.taken == [*reversed(range(3000))]
    assert asked <= 3000

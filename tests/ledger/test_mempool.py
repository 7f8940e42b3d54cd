"""The queue of signed extrinsics, and what a block takes from it."""

import pytest
from msgspec.structs import replace

from ledger.errors import Refusal
from ledger.extrinsics import Publish, Register, RevealWeights, Serve, Transfer, decode_extrinsic, encode_extrinsic
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.store.mempool import Mempool, select
from ledger.units import RAO_PER_TAO, blake2b_256


@pytest.fixture
def mempool(network, tmp_path):
    queue = Mempool(tmp_path / "queue" / "mempool.sqlite", network.chain.genesis_hash)
    yield queue
    queue.close()


def _transfer(network, amount_rao=RAO_PER_TAO):
    return Transfer(to=network.hotkeys[0].public, amount_rao=amount_rao)


def _select(mempool, network, kind="open"):
    return select(mempool.pending(), network.chain.state, kind, network.chain.head.height + 1)


def test_only_what_could_be_in_a_block_gets_in(network, mempool):
    data = network.sign(_transfer(network), network.treasury)
    assert mempool.submit(data) == blake2b_256(data)
    assert mempool.submit(data) == blake2b_256(data)
    assert [waiting for _, waiting in mempool.pending()] == [data]
    extrinsic = decode_extrinsic(data)
    refused = {
        "undecodable": b"\xc1",
        "not_canonical": data.replace(b"\xa5nonce\x01", b"\xa5nonce\xcc\x01"),
        "too_large": bytes((1 << 20) + 1),
        "bad_signature": encode_extrinsic(replace(extrinsic, nonce=7)),
    }
    for code, bad in refused.items():
        with pytest.raises(Refusal) as refusal:
            mempool.submit(bad)
        assert refusal.value.code == code
    assert len(mempool.pending()) == 1


def test_it_survives_its_process_and_several_may_use_it(network, mempool, tmp_path):
    first, second = (network.sign(_transfer(network), network.treasury) for _ in range(2))
    other = Mempool(tmp_path / "queue" / "mempool.sqlite", network.chain.genesis_hash)
    mempool.submit(first)
    other.submit(second)
    other.close()
    assert [data for _, data in mempool.pending()] == [first, second]
    assert [data for _, data in mempool.pending(limit=1)] == [first]


def test_nonces_go_on_after_those_that_wait(network, mempool):
    public = network.treasury.public
    assert mempool.next_nonce(public, 0) == 1
    for nonce in (1, 2, 4):
        mempool.submit(network.sign(_transfer(network), network.treasury, nonce=nonce))
    assert mempool.next_nonce(public, 0) == 3
    assert mempool.next_nonce(public, 3) == 5
    assert mempool.next_nonce(bytes(32), 0) == 1


def test_a_block_takes_a_signers_extrinsics_in_order_of_nonce(network, mempool):
    signed = {nonce: network.sign(_transfer(network), network.treasury, nonce=nonce) for nonce in (3, 1, 2, 5)}
    for data in signed.values():
        mempool.submit(data)
    chosen = _select(mempool, network)
    assert chosen.extrinsics == [signed[1], signed[2], signed[3]]
    assert network.seal("open", chosen.extrinsics).receipts == ("ok", "ok", "ok")
    mempool.remove(chosen.taken)
    assert [data for _, data in mempool.pending()] == [signed[5]]
    assert _select(mempool, network, "commit") == ([], [], [])


def test_what_waits_for_its_phase_or_for_room_stays(make_network, tmp_path):
    network = make_network(parameters=Parameters(max_extrinsic_bytes=1024, max_block_bytes=1024))
    mempool = Mempool(tmp_path / "small.sqlite", network.chain.genesis_hash, max_bytes=1024)
    publish = network.sign(Publish(manifest=b"\1" * 32), network.hotkeys[4])
    for data in [publish, *(network.sign(_transfer(network), network.treasury) for _ in range(8))]:
        mempool.submit(data)
    chosen = _select(mempool, network, "commit")
    assert publish not in chosen.extrinsics
    assert 0 < sum(map(len, chosen.extrinsics)) <= 1024
    assert len(chosen.extrinsics) < 8
    assert chosen.dropped == []
    assert _select(mempool, network, "open").extrinsics[0] == publish
    mempool.close()


def test_what_is_spent_or_expired_is_dropped(network, mempool):
    spent = network.sign(_transfer(network), network.treasury)
    expired = network.sign(_transfer(network), network.coldkeys[0], valid_until=1)
    mempool.submit(spent)
    mempool.submit(expired)
    block = network.seal("open", [spent])
    chosen = _select(mempool, network, "commit")
    assert (chosen.extrinsics, len(chosen.dropped)) == ([], 2)
    mempool.remove_included(block)
    assert [data for _, data in mempool.pending()] == [expired]
    mempool.remove(chosen.dropped)
    assert mempool.pending() == []


def test_a_broken_row_is_dropped_and_never_sealed(network, mempool):
    mempool.submit(network.sign(_transfer(network), network.treasury))
    broken = [(row_id, data[:-2] + bytes(2)) for row_id, data in mempool.pending()]
    chosen = select(broken, network.chain.state, "open", 1)
    assert (chosen.extrinsics, chosen.dropped) == ([], [broken[0][0]])
    with pytest.raises(Refusal):
        network.seal("open", [broken[0][1]])
    assert network.chain.head.height == 0


def test_calls_of_a_hotkey_wait_for_its_registration(network, mempool):
    """A block of any kind takes Serve, only an open block takes Register."""
    fresh = Keypair.from_seed(b"\x0d" * 32)
    register = Register(hotkey=fresh.public, name="fresh", max_price_rao=100 * RAO_PER_TAO)
    serve = network.sign(Serve(endpoint="http://127.0.0.1:8091"), fresh, nonce=1)
    registered = network.sign(register, network.treasury, nonce=2)
    for data in (serve, registered, network.sign(_transfer(network), network.treasury, nonce=1)):
        mempool.submit(data)
    network.seal("open")
    for kind in ("commit", "close"):
        assert serve not in _select(mempool, network, kind).extrinsics
        network.seal(kind)
    chosen = _select(mempool, network)
    assert chosen.extrinsics[1:] == [registered, serve]
    assert network.seal("open", chosen.extrinsics).receipts == ("ok", "ok", "ok")
    moved = network.sign(Serve(endpoint=None), fresh, nonce=2)
    mempool.submit(moved)
    assert moved in _select(mempool, network, "commit").extrinsics


def test_one_block_one_vote_each_way(network, mempool):
    """A commitment and its reveal can wait together: each enters the block of its kind."""
    network.seal("open")
    reveal: RevealWeights = network.ballot(0, (1,), (5,))
    key = network.hotkeys[0]
    mempool.submit(network.sign(network.commit_call(0, reveal), key, nonce=1))
    mempool.submit(network.sign(reveal, key, nonce=2))
    for kind in ("commit", "close"):
        chosen = _select(mempool, network, kind)
        assert network.seal(kind, chosen.extrinsics).receipts == ("ok",)
        mempool.remove(chosen.taken)
    assert mempool.pending() == []


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING", 1), ("MAX_WAITING_BYTES", 300)])
def test_a_full_mempool_refuses(network, mempool, monkeypatch, limit, value):
    monkeypatch.setattr(f"ledger.store.mempool.{limit}", value)
    mempool.submit(network.sign(_transfer(network), network.treasury))
    with pytest.raises(Refusal, match="mempool_full"):
        mempool.submit(network.sign(_transfer(network), Keypair.generate(), nonce=1))


def test_a_vote_whose_block_has_gone_by_does_not_hold_up_its_signer(network, mempool):
    network.seal("open")
    reveal = network.ballot(0, (), ())
    network.seal("commit", [network.sign(network.commit_call(0, reveal), network.hotkeys[0])])
    mempool.submit(network.sign(reveal, network.hotkeys[0], nonce=2))
    mempool.submit(network.sign(network.commit_call(1, reveal), network.hotkeys[1], nonce=1))
    late_commit = _select(mempool, network, "close")
    assert (len(late_commit.taken), len(late_commit.dropped)) == (1, 1)
    network.seal("close")
    chosen = _select(mempool, network)
    assert (chosen.extrinsics, len(chosen.dropped)) == ([], 2)


def test_a_block_that_is_too_large_is_refused_whole(make_network):
    network = make_network(parameters=Parameters(max_extrinsic_bytes=1024, max_block_bytes=1024))
    transfers = [network.sign(_transfer(network), network.treasury) for _ in range(5)]
    assert sum(len(data) for data in transfers) > 1024
    with pytest.raises(Refusal, match="block_too_large"):
        network.seal("open", transfers)
    assert network.seal("open", transfers[:3]).receipts == ("ok", "ok", "ok")

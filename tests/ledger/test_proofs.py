"""Proofs hold with the header alone, for what is there and for what is not; an altered one proves nothing."""

import json
from typing import Any

import pytest

from ledger.errors import InvalidProof, StoreError
from ledger.extrinsics import Transfer
from ledger.store.proving import prove_account, prove_extrinsic
from ledger.trust.proofs import check_proof, decode_proof, encode_proof
from ledger.units import RAO_PER_TAO, blake2b_256


@pytest.fixture
def grown(network):
    to = network.coldkeys[0].public
    network.moves = [network.sign(Transfer(to=to, amount_rao=RAO_PER_TAO), network.treasury) for _ in range(4)]
    network.moves.append(network.sign(Transfer(to=to, amount_rao=RAO_PER_TAO * 10**6), network.treasury))
    network.run_epoch(network.moves)
    network.run_epoch()
    return network


def _round_trip(proof):
    return decode_proof(json.dumps(encode_proof(proof)).encode())


def test_every_extrinsic_of_every_block_is_proven_with_its_receipt(grown):
    chain = grown.chain
    for block in chain.blocks(0):
        for position, data in enumerate(block.extrinsics):
            proof = prove_extrinsic(chain, blake2b_256(data))
            proven = check_proof(_round_trip(proof), block_hash=block.hash, genesis_hash=chain.genesis_hash, final=True)
            assert (proven.height, proven.epoch, proven.final) == (block.height, block.header.epoch, True)
            assert f"number {position} of block {block.height}" in proven.statement
            assert proof.extrinsic == data
    refused = prove_extrinsic(chain, blake2b_256(grown.moves[-1]))
    assert "was refused (insufficient_balance)" in check_proof(refused).statement
    with pytest.raises(StoreError, match="no block"):
        prove_extrinsic(chain, bytes(32))


def test_an_account_is_proven_there_or_absent(grown):
    chain = grown.chain
    for public in (grown.treasury.public, *(key.public for key in (*grown.coldkeys, *grown.hotkeys)), bytes(32)):
        proven = check_proof(_round_trip(prove_account(chain, public)), block_hash=chain.head_hash, final=True)
        balance = chain.state.account(public)
        assert (f"holds {balance} RAO" if balance else "holds no free balance") in proven.statement
        assert f"last nonce is {chain.state.nonce(public)}" in proven.statement


def test_a_block_that_is_not_final_yet_is_proven_without_votes(grown):
    grown.seal("open")
    proof = prove_account(grown.chain, grown.treasury.public)
    assert proof.finality is None
    assert not check_proof(proof).final
    with pytest.raises(InvalidProof, match="no votes"):
        check_proof(proof, final=True)


def test_a_block_is_final_by_votes_for_a_later_one(network):
    move = network.sign(Transfer(to=network.coldkeys[0].public, amount_rao=RAO_PER_TAO), network.treasury)
    for kind in ("open", "commit", "close", "open", "commit"):
        network.seal(kind, [move] if kind == "open" and network.chain.head.height == 0 else [])
    assert network.vote_all(5)
    proof = prove_extrinsic(network.chain, blake2b_256(move))
    assert [header.height for header in proof.finality.headers] == [1, 2, 3, 4, 5]
    assert proof.finality.closing_height == 3
    assert check_proof(_round_trip(proof), final=True).height == 1


def test_another_block_or_network_than_asked_for_is_refused(grown):
    proof = prove_account(grown.chain, grown.treasury.public)
    for asked in ({"block_hash": bytes(32)}, {"genesis_hash": bytes(32)}):
        with pytest.raises(InvalidProof):
            check_proof(proof, **asked)


def _places(value: Any, path: tuple[Any, ...] = ()):
    """Every leaf of a document, by its path."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(inner, (*path, key))
    else:
        yield path


def _altered(value: Any) -> Any:
    if isinstance(value, str):
        flipped = "1" if value[-1] != "1" else "2"
        return value[:-1] + flipped
    return value + 1 if isinstance(value, int) else "0x00"


@pytest.mark.parametrize("kind", ["extrinsic", "account", "absent"])
def test_no_altered_proof_proves_anything(grown, kind):
    chain = grown.chain
    proof = {
        "extrinsic": lambda: prove_extrinsic(chain, blake2b_256(grown.moves[1])),
        "account": lambda: prove_account(chain, grown.treasury.public),
        "absent": lambda: prove_account(chain, bytes(32)),
    }[kind]()
    trusted = {"block_hash": proof.header.hash, "genesis_hash": chain.genesis_hash, "final": True}
    document = json.dumps(encode_proof(proof))
    places = list(_places(json.loads(document)))
    assert len(places) > 50
    for path in places:
        forged = json.loads(document)
        place = forged
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = _altered(place[path[-1]])
        with pytest.raises(InvalidProof):
            check_proof(decode_proof(json.dumps(forged).encode()), **trusted)
    for text in (b"", b"{}", b"[1]", b"\xff", b'{"proof": "other"}', document.encode()[:-5], b"[" * 5000):
        with pytest.raises(InvalidProof):
            decode_proof(text)


def test_votes_of_too_little_stake_prove_no_finality(grown):
    proof = encode_proof(prove_account(grown.chain, grown.treasury.public))
    proof["finality"]["votes"] = proof["finality"]["votes"][:2]
    with pytest.raises(InvalidProof, match="two thirds"):
        check_proof(decode_proof(json.dumps(proof).encode()))
    proof["finality"]["votes"] *= 2
    with pytest.raises(InvalidProof, match="two thirds"):
        check_proof(decode_proof(json.dumps(proof).encode()))

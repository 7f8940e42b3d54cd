"""The chain over several epochs: blocks, minting, finality, replicas, and one writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import ledger.store.chain as chain_module
from ledger.blocks import decode_block, encode_block, sign_header
from ledger.epoch.emission import CAP_RAO
from ledger.errors import NotWriter, Refusal, StoreError
from ledger.extrinsics import Register, Transfer
from ledger.genesis import Genesis
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.state import check_supply
from ledger.store.chain import Chain
from ledger.store.replay import replay, verify
from ledger.trust.finality import is_final, missing, sign_vote
from ledger.trust.terms import Base, sign_mandate, sign_promise
from ledger.units import RAO_PER_TAO, blake2b_256

EPOCHS = 4


@pytest.fixture
def grown(network):
    for _ in range(EPOCHS):
        network.run_epoch()
    return network


def test_epochs_mint_exactly_and_pay_the_peers_that_got_votes(grown):
    state = grown.chain.state
    supply = state.supply()
    assert supply.minted_rao == EPOCHS * 360 * RAO_PER_TAO
    assert supply.issuance_rao == supply.genesis_rao + supply.minted_rao - supply.burned_rao <= CAP_RAO
    assert supply.free_rao + supply.pools_rao == supply.issuance_rao
    neurons = state.neurons()
    assert sum(neuron.emission_rao for neuron in neurons) == 360 * RAO_PER_TAO
    paid = [neurons[uid].incentive_rao for uid in grown.peers]
    assert paid == sorted(paid)
    assert paid[0] > 0
    assert all(neurons[uid].dividends_rao > 0 for uid in grown.validators)
    assert all(state.stake(neurons[uid].hotkey) > neurons[uid].incentive_rao for uid in grown.peers)


def test_a_block_is_final_with_more_than_two_thirds_of_the_stake(network):
    chain = network.chain
    header = network.seal("open").header
    votes = [sign_vote(header, network.hotkeys[uid], chain.genesis_hash) for uid in network.validators]
    assert not chain.add_votes(1, votes[:2])
    assert missing(chain.votes(1), chain.finality_set(1)) == [network.hotkeys[uid].public for uid in (2, 3)]
    assert (chain.is_final(0), chain.is_final(1)) == (True, False)
    assert chain.add_votes(1, votes[1:3])
    assert chain.final_height == 1
    assert is_final(chain.votes(1), chain.finality_set(1))
    network.seal("commit")
    assert not chain.is_final(2)


def test_exactly_two_thirds_is_not_final(make_network):
    network = make_network(validators=3, peers=1)
    equal = [replace(member, stake_rao=3) for member in network.chain.finality_set(0)]
    header = network.chain.head
    votes = [sign_vote(header, network.hotkeys[uid], network.chain.genesis_hash) for uid in range(2)]
    assert not is_final(votes, equal)


@pytest.mark.parametrize("forge", ["stranger", "other height", "other network", "other term"])
def test_votes_that_do_not_count_are_refused(network, forge):
    chain, key = network.chain, network.hotkeys[0]
    first, second = network.seal("open").header, network.seal("commit").header
    vote = {
        "stranger": sign_vote(second, Keypair.generate(), chain.genesis_hash),
        "other height": sign_vote(first, key, chain.genesis_hash),
        "other network": sign_vote(second, key, bytes(32)),
        "other term": sign_vote(replace(second, term=1), key, chain.genesis_hash),
    }[forge]
    with pytest.raises(Refusal) as refusal:
        chain.add_votes(2, [sign_vote(second, key, chain.genesis_hash), vote])
    assert refusal.value.code == "bad_vote"
    assert chain.votes(2) == []


def test_who_stays_away_leaves_the_finality_set_after_the_cutoff(make_network):
    network = make_network(parameters=Parameters(activity_cutoff=720))
    away = network.hotkeys[3].public
    for epoch in range(1, 5):
        network.run_epoch(voting=[0, 1, 2])
        members = {member.hotkey for member in network.chain.state.finality_set}
        assert (away in members) == (epoch <= 2)
    assert not network.chain.state.neuron(3).active
    assert network.chain.final_height == network.chain.head.height


def test_a_replica_reexecutes_to_the_same_state(grown, tmp_path):
    with Chain.create(tmp_path / "replica.sqlite", grown.genesis) as replica:
        for block in grown.chain.blocks(1):
            replica.append(decode_block(encode_block(block)))
        assert replica.head_hash == grown.chain.head_hash
        assert dict(replica.state.encoded_rows()) == dict(grown.chain.state.encoded_rows())


def test_a_replica_refuses_every_altered_block_and_stays_where_it_is(grown, tmp_path):
    blocks = list(grown.chain.blocks(1))
    other = Keypair.generate()
    with Chain.create(tmp_path / "replica.sqlite", grown.genesis) as replica:
        replica.append(blocks[0])
        root = replica.state.root
        good = blocks[1]

        def signed(block, keypair=grown.keeper, **fields):
            header = replace(block.header, **fields)
            return replace(block, header=header, signature=sign_header(header, keypair, grown.chain.genesis_hash))

        altered = [
            blocks[2],
            replace(good, signature=bytes(64)),
            signed(good, keypair=other),
            signed(good, keypair=other, keeper=other.public),
            signed(good, state_root=bytes(32)),
            signed(good, receipts_root=bytes(32)),
            signed(good, extrinsics_root=bytes(32)),
            signed(good, parent=bytes(32)),
            signed(good, epoch=9),
            signed(good, kind="close"),
            replace(good, receipts=("no_permit", *good.receipts[1:])),
            replace(good, extrinsics=good.extrinsics[1:], receipts=good.receipts[1:]),
            replace(good, extrinsics=(good.extrinsics[0][:-2] + bytes(2), *good.extrinsics[1:])),
        ]
        for block in altered:
            with pytest.raises(Refusal):
                replica.append(block)
            assert replica.state.root == root
            assert replica.state.mark() == 0
            assert replica.head_hash == blocks[0].hash
        replica.append(good)


def test_blocks_come_in_order_and_under_their_term(network):
    chain = network.chain
    for kind in ("commit", "close", "genesis"):
        with pytest.raises(Refusal, match="wrong_kind"):
            network.seal(kind)
    chain.set_term(3, None)
    with pytest.raises(Refusal, match="no_mandate"):
        network.seal("open")
    with pytest.raises(Refusal, match="wrong_term"):
        chain.build("open", [], term=2, keypair=network.keeper)
    with pytest.raises(Refusal, match="wrong_term"):
        chain.set_term(2, None)
    promises = [sign_promise(3, None, key, chain.genesis_hash) for key in network.hotkeys[:4]]
    base = Base(height=0, block_hash=chain.head_hash)
    chain.set_term(3, sign_mandate(3, base, promises, network.keeper, chain.genesis_hash))
    with pytest.raises(Refusal, match="wrong_block"):
        chain.build("open", [], term=3, keypair=Keypair.generate())
    assert chain.head.height == 0
    assert network.seal("open").header.term == 3


def test_receipts_say_where_and_whether_final(network):
    ok = network.sign(Transfer(to=network.hotkeys[0].public, amount_rao=RAO_PER_TAO), network.treasury)
    poor = network.sign(Transfer(to=network.treasury.public, amount_rao=1), Keypair.generate())
    network.seal("open", [ok, poor])
    first, second = (network.chain.receipt(blake2b_256(data)) for data in (ok, poor))
    assert (first.height, first.position, first.code, first.final) == (1, 0, "ok", False)
    assert second.code == "insufficient_balance"
    network.vote_all(1)
    assert network.chain.receipt(blake2b_256(ok)).final
    assert network.chain.receipt(bytes(32)) is None


def test_reopening_gives_the_same_head_state_and_finality(grown):
    path, head, final = grown.chain.path, grown.chain.head_hash, grown.chain.final_height
    rows = dict(grown.chain.state.encoded_rows())
    grown.chain.close()
    with Chain.open(path, write=True) as chain:
        assert (chain.head_hash, chain.final_height) == (head, final)
        assert dict(chain.state.encoded_rows()) == rows
        check_supply(chain.state)


def test_one_writer_and_any_number_of_readers(network):
    path = network.chain.path
    with pytest.raises(NotWriter, match=str(os.getpid())):
        Chain.open(path, write=True, timeout_s=0.0)
    with Chain.open(path) as reader:
        with pytest.raises(NotWriter, match="opened to read"):
            reader.build("open", [], term=0, keypair=network.keeper)
        network.seal("open")
        network.vote_all(1)
        assert reader.head.height == 0
        reader.refresh()
        assert (reader.head.height, reader.final_height) == (1, 1)
        assert verify(path).height == 1


def test_what_is_not_there_or_already_there_is_said(network, tmp_path):
    with pytest.raises(StoreError, match="no ledger here"):
        Chain.open(tmp_path / "nothing.sqlite")
    with pytest.raises(StoreError, match="no ledger here"):
        verify(tmp_path / "nothing.sqlite")
    path = network.chain.path
    network.chain.close()
    with pytest.raises(StoreError, match="already"):
        Chain.create(path, network.genesis)
    with pytest.raises(StoreError, match="no block 7"):
        Chain.open(path).block(7)


def test_a_full_disk_is_an_error_that_changes_nothing(network):
    chain = network.chain
    root, pages = chain.state.root, chain._database.query("PRAGMA page_count")[0][0]
    chain._database.query(f"PRAGMA max_page_count = {pages}")
    transfers = [
        network.sign(Transfer(to=bytes([index]) * 32, amount_rao=1000), network.treasury) for index in range(200)
    ]
    with pytest.raises(StoreError, match="full"):
        network.seal("open", transfers)
    assert (chain.head.height, chain.state.globals.epoch, chain.state.root) == (0, 0, root)
    assert verify(chain.path).height == 0
    chain._database.query("PRAGMA max_page_count = 1000000")
    assert set(network.seal("open", transfers).receipts) == {"ok"}
    assert verify(chain.path).extrinsics == 200


def test_a_creation_that_was_cut_off_leaves_no_ledger(network, tmp_path, monkeypatch):
    path = tmp_path / "cut.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(chain_module, "write_finality_set", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Chain.create(path, network.genesis)
    assert not path.exists()
    with Chain.create(path, network.genesis) as chain:
        assert chain.head_hash == network.chain.head_hash


_WRITER = """
import sys
from ledger.keys import Keypair
from ledger.store.chain import Chain
chain = Chain.open(sys.argv[1], write=True)
keeper = Keypair.from_seed(bytes.fromhex(sys.argv[2]))
next_kind = {"closed": "open", "open": "commit", "commit": "close"}
while True:
    block = chain.build(next_kind[chain.state.globals.phase], [], term=0, keypair=keeper)
    print(block.height, block.hash.hex(), flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_no_committed_block(network):
    path = network.chain.path
    network.chain.close()
    seen = 0
    for blocks in (3, 8):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), network.keeper.seed.hex()],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        printed = [process.stdout.readline() for _ in range(blocks)]
        process.send_signal(signal.SIGKILL)
        printed += process.stdout.readlines()
        process.wait()
        whole = [line.split() for line in printed if line.endswith("\n")]
        heights = {int(height): block_hash for height, block_hash in whole}
        verified = verify(path)
        assert verified.height >= max(heights) >= seen + blocks
        with Chain.open(path) as chain:
            for height, block_hash in heights.items():
                assert chain.block(height).hash.hex() == block_hash
            seen = chain.head.height


_TORN = """
import os, sys
import ledger.store.chain as chain_module
from ledger.keys import Keypair
write = chain_module.write_block
def torn(database, block, sealed):
    write(database, block, sealed)
    database.query("PRAGMA cache_spill = 1")
    os.kill(os.getpid(), 9)
chain_module.write_block = torn
chain = chain_module.Chain.open(sys.argv[1], write=True)
chain.build("open", [], term=0, keypair=Keypair.from_seed(bytes.fromhex(sys.argv[2])))
"""


def test_a_writer_killed_inside_a_transaction_leaves_no_part_of_the_block(network):
    path = network.chain.path
    network.chain.close()
    done = subprocess.run(
        [sys.executable, "-c", _TORN, str(path), network.keeper.seed.hex()], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert verify(path).height == 0
    with Chain.open(path, write=True) as chain:
        assert chain.build("open", [], term=0, keypair=network.keeper).height == 1
    assert verify(path).height == 1


def test_replaying_stored_blocks_from_genesis_gives_the_identical_state(grown):
    register = grown.sign(
        Register(hotkey=Keypair.generate().public, name="late", max_price_rao=2 * RAO_PER_TAO), grown.treasury
    )
    grown.run_epoch([register])
    encoded = [encode_block(block) for block in grown.chain.blocks(0)]
    genesis: Genesis = grown.genesis
    for block, state in replay(genesis, iter([decode_block(data) for data in encoded])):
        assert state.root == block.header.state_root
    assert dict(state.encoded_rows()) == dict(grown.chain.state.encoded_rows())
    verified = verify(grown.chain.path)
    assert verified.state_root == grown.chain.state.root
    assert (verified.epoch, verified.height, verified.final_height) == (EPOCHS + 1, 15, 15)
    assert verified.burned_rao == grown.chain.state.supply().burned_rao > 0

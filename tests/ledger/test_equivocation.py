"""Equivocation: two signatures of one key for two blocks of one height and term, and what they cost."""

import pytest
from msgspec.structs import replace

from ledger.blocks import sign_header
from ledger.errors import Refusal
from ledger.extrinsics import Equivocation, Register, SignedHeader, SwapHotkey, TwoHeaders, TwoVotes
from ledger.parameters import Parameters
from ledger.rules.equivocation import validate_proof
from ledger.trust.finality import sign_vote
from ledger.units import CAP_RAO


def other_header(network, height, **fields):
    return replace(network.chain.block(height).header, **({"state_root": bytes(32)} | fields))


def two_votes(network, uid, height, genesis_hash=None, **fields):
    genesis_hash = genesis_hash or network.chain.genesis_hash
    headers = network.chain.block(height).header, other_header(network, height, **fields)
    first, second = (sign_vote(header, network.hotkeys[uid], genesis_hash) for header in headers)
    return TwoVotes(first=first, second=second)


def two_headers(network, height, keypair=None, **fields):
    keypair = keypair or network.keeper
    headers = network.chain.block(height).header, other_header(network, height, **fields)
    first, second = (
        SignedHeader(header=header, signature=sign_header(header, keypair, network.chain.genesis_hash))
        for header in headers
    )
    return TwoHeaders(first=first, second=second)


def report(network, proof, reporter=0):
    """Each reporter's nonce runs on its own, so that a refused report spoils no other."""
    return network.sign(Equivocation(proof=proof), network.coldkeys[reporter])


@pytest.fixture
def network(make_network):
    network = make_network(parameters=Parameters(equivocation_epochs=2, swap_hotkey_limit=9))
    network.run_epoch()
    return network


def test_a_validator_that_signed_twice_has_no_vote_for_the_networks_number_of_epochs(network):
    close = network.run_epoch(opening=[report(network, two_votes(network, 1, 2))])
    hotkey = network.hotkeys[1].public
    epoch = close.header.epoch
    assert network.chain.state.barred_until(hotkey) == epoch + 2
    commit = network.chain.block(close.height - 1)
    assert commit.receipts == ("ok", "barred", "ok", "ok")
    assert close.receipts == ("ok", "barred", "ok", "ok")
    state = network.chain.state
    assert (state.neuron(1).permit, state.neuron(1).dividends_rao, state.bonds.get(b"\0\1")) == (False, 0, None)
    assert hotkey not in {member.hotkey for member in state.finality_set}
    network.run_epoch(voting=[0, 2, 3])
    assert state.neuron(1).permit
    close = network.run_epoch()
    assert close.receipts == ("ok", "ok", "ok", "ok")
    assert hotkey in {member.hotkey for member in state.finality_set}


def test_a_vote_revealed_before_its_proof_does_not_count(network):
    network.seal("open")
    reveals = {uid: network.ballot(uid, tuple(network.peers), (1,) * len(network.peers)) for uid in (0, 1)}
    network.seal(
        "commit", [network.sign(network.commit_call(uid, reveals[uid]), network.hotkeys[uid]) for uid in (0, 1)]
    )
    shown = [network.sign(reveals[uid], network.hotkeys[uid]) for uid in (0, 1)]
    block = network.seal("close", [*shown, report(network, two_votes(network, 1, 2))])
    assert block.receipts == ("ok", "ok", "ok")
    assert network.chain.state.neuron(0).dividends_rao > 0
    assert network.chain.state.neuron(1).dividends_rao == 0


def test_a_proof_counts_once_and_a_later_one_again(network):
    network.run_epoch()
    later, earlier = two_votes(network, 1, 4), two_votes(network, 1, 2)
    proofs = enumerate((earlier, earlier, later, earlier))
    block = network.seal("open", [report(network, proof, reporter) for reporter, proof in proofs])
    assert block.receipts == ("ok", "already_proven", "ok", "already_proven")
    offence = network.chain.state.offences.get(network.hotkeys[1].public)
    assert (offence.height, offence.proofs) == (4, 2)


def test_a_keeper_that_wrote_two_blocks_is_on_record(network):
    assert network.seal("open", [report(network, two_headers(network, 2))]).receipts == ("ok",)
    assert network.chain.state.offences.get(network.keeper.public).height == 2


def test_what_proves_nothing_is_refused(network):
    vote, header = two_votes(network, 1, 2), two_headers(network, 2)
    same_root = network.chain.block(2).header.state_root
    proofs = [
        two_votes(network, 1, 2, state_root=same_root),
        two_votes(network, 1, 2, term=1),
        two_votes(network, 1, 2, genesis_hash=bytes(32)),
        replace(vote, second=two_votes(network, 2, 2).second),
        replace(vote, second=replace(vote.second, signature=vote.first.signature)),
        TwoVotes(first=replace(vote.first, height=1), second=replace(vote.second, height=1)),
        two_headers(network, 2, keypair=network.hotkeys[1]),
        two_headers(network, 2, keypair=network.hotkeys[1], keeper=network.hotkeys[1].public),
        two_headers(network, 2, state_root=same_root),
        two_headers(network, 2, term=1),
        replace(header, second=header.first),
    ]
    for proof in proofs:
        with pytest.raises(Refusal, match="bad_proof"):
            validate_proof(proof, genesis_hash=network.chain.genesis_hash, keeper=network.keeper.public)
    reports = [report(network, proof, reporter) for reporter, proof in enumerate(proofs)]
    assert set(network.seal("open", reports).receipts) == {"bad_proof"}
    assert not network.chain.state.offences.entries


def test_a_height_that_is_not_reached_or_a_key_that_is_no_hotkey_is_refused(network):
    ahead = replace(network.chain.head, height=99), replace(network.chain.head, height=99, parent=bytes(32))
    present = network.chain.block(2).header, other_header(network, 2)

    def proof(headers, keypair):
        first, second = (sign_vote(header, keypair, network.chain.genesis_hash) for header in headers)
        return report(network, TwoVotes(first=first, second=second))

    assert network.seal("open", [proof(ahead, network.hotkeys[1])]).receipts == ("bad_proof",)
    assert network.seal("commit", [proof(present, network.treasury)]).receipts == ("not_registered",)


@pytest.mark.parametrize("swapped_first", [False, True])
def test_no_swap_escapes_a_bar(network, swapped_first):
    fresh = type(network.keeper).from_seed(b"\5" * 32)
    swap = network.sign(SwapHotkey(old=network.hotkeys[1].public, new=fresh.public), network.coldkeys[1])
    proof = report(network, two_votes(network, 1, 2))
    block = network.seal("open", [swap, proof] if swapped_first else [proof, swap])
    assert block.receipts == ("ok", "ok")
    neuron = network.chain.state.neuron_by_hotkey(fresh.public)
    assert (neuron.uid, neuron.permit) == (1, False)
    assert network.chain.state.barred_until(fresh.public) == block.header.epoch + 2
    again = Register(hotkey=network.hotkeys[1].public, name="x", max_price_rao=CAP_RAO)
    assert network.seal("commit").receipts == ()
    assert network.seal("close").receipts == ()
    assert network.seal("open", [network.sign(again, network.coldkeys[1])]).receipts == ("hotkey_retired",)

"""Epochs of a whole network without Ray: what is voted, signed and kept, and what a restart changes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from actors.ballot import NoBallot
from actors.wire import sign_answer
from ledger.blocks import Block, sign_header
from ledger.errors import Refusal
from ledger.extrinsics import BASELINE_UID
from ledger.parameters import Parameters
from ledger.store.chain import Chain
from ledger.store.replay import verify
from ledger.trust.finality import verify_vote
from models.value.accounts import median_accounts
from models.value.audit import audit
from models.value.evidence import evidence_hash
from models.value.record import read_evidence

pytestmark = pytest.mark.thorough

MINTED_AN_EPOCH_RAO = 360 * 10**9


def open_epoch_with_news(network: Any, versions: dict[str, bytes]) -> None:
    """The open block of the next epoch, in which grace publishes another version."""
    network.publish("grace", versions["grace 2"])
    network.seal("open")


def forge(network: Any, block: Block, **changes: object) -> Block:
    """A block with another header, signed by the keeper as if it were in order."""
    header = replace(block.header, **changes)
    signature = sign_header(header, network.wallets["operator"].hotkey(), network.genesis.hash)
    return replace(block, header=header, signature=signature)


def test_blocks_are_final_and_replicas_agree_with_the_keeper(network: Any) -> None:
    position = network.keeper.position()
    assert (position.epoch, position.kind, position.height) == (2, "close", 6)
    assert position.final_height == position.height
    network.close()
    replayed = verify(network.folder / "chain.db")
    for name in network.validators:
        with Chain.open(network.folder / "validators" / name / "replica.db") as replica:
            assert replica.head_hash == position.block_hash
            assert replica.state.root == replayed.state_root
            assert replica.head.state_root == replayed.state_root


def test_money_is_minted_to_who_informed_the_collective_and_to_who_said_so(network: Any) -> None:
    view = network.keeper.view()
    assert view.supply.minted_rao == 2 * MINTED_AN_EPOCH_RAO
    paid = {neuron.name: neuron.emission_rao for neuron in view.neurons}
    assert sum(paid.values()) == MINTED_AN_EPOCH_RAO
    assert all(paid[name] > 0 for name in ("ada", "grace", *network.validators))
    assert paid["echo"] == 0, "a noisy copy of what is known brings no news"
    members = {row.uid for row in view.rows if row.member}
    assert network.uid("ada") in members


def test_the_ledger_holds_the_hash_of_evidence_that_passes_the_audit(network: Any) -> None:
    neurons = {neuron.name: neuron for neuron in network.keeper.view().neurons}
    for name in network.validators:
        path = network.evidence_path(2, name)
        assert evidence_hash(path.read_bytes()) == neurons[name].evidence
        evidence = read_evidence(path, neurons[name].evidence)
        assert audit(evidence) == []
        assert evidence.epoch == 2
        assert evidence.genesis == network.genesis.hash
        before = read_evidence(network.evidence_path(1, name)).books.accounts
        assert evidence.accounts_before == before


def test_the_chain_holds_the_votes_of_the_evidence(network: Any) -> None:
    with Chain.open(network.folder / "chain.db") as chain:
        for name in network.validators:
            revealed = chain.state.reveals()[network.uid(name)]
            evidence = read_evidence(network.evidence_path(2, name), revealed.evidence)
            assert dict(zip(revealed.uids, revealed.values, strict=True)) == evidence.books.votes
            assert {member.uid for member in revealed.members} <= {BASELINE_UID, *evidence.answered}


def test_every_validator_draws_windows_of_its_own(network: Any) -> None:
    network.seal("open")
    queries = [validator.draw(3) for validator in network.validators.values()]
    texts = {query.text_WT.tobytes() for query in queries}
    assert len(texts) == len(network.validators)
    again = network.restart_validator("vera").draw(3)
    assert again.digest == queries[0].digest, "and the same ones after a restart"


def test_a_validator_that_restarts_votes_as_it_did_before(network: Any, versions: Any) -> None:
    open_epoch_with_news(network, versions[1])
    answers = network.ask()
    vera = network.validators["vera"]
    found, commit = vera.value(3, {}, answers), vera.commit(3)
    vera = network.restart_validator("vera")
    assert vera.value(3, {}, []) == found, "the answers are not looked at again"
    assert vera.commit(3) == commit
    network.vote(answers)
    assert vera.finding(3) == found
    reveal = vera.reveal(3)
    network.keeper.close()
    network.keeper = network.make_keeper()
    assert network.keeper.position().epoch == 3
    assert network.restart_validator("vera").reveal(3) == reveal


def test_a_validator_whose_folder_is_lost_catches_up_and_starts_from_the_median(network: Any, versions: Any) -> None:
    network.lose_validator("vera")
    assert network.validators["vera"].known().height == 0
    open_epoch_with_news(network, versions[1])
    stakes_rao = network.keeper.view().stakes_rao[: len(network.validators)]
    network.vote(network.ask())
    tables = [read_evidence(network.evidence_path(2, name)).books.accounts for name in network.validators]
    median = median_accounts(tables, stakes_rao)
    assert median
    assert read_evidence(network.evidence_path(3, "vera")).accounts_before == median


def test_damaged_evidence_of_another_keeps_no_newcomer_from_voting(network: Any, versions: Any) -> None:
    network.evidence_path(2, "victor").write_bytes(b"not evidence")
    network.lose_validator("vera")
    open_epoch_with_news(network, versions[1])
    network.validators["vera"].value(3, {}, network.ask())
    viola, vera = (read_evidence(network.evidence_path(2, name)).books.accounts for name in ("viola", "vera"))
    before = read_evidence(network.evidence_path(3, "vera")).accounts_before
    stakes_rao = network.keeper.view().stakes_rao
    assert before == median_accounts([vera, viola], [stakes_rao[0], stakes_rao[2]])


def test_a_validator_signs_nothing_that_its_replica_does_not_come_to(network: Any) -> None:
    vera = network.validators["vera"]
    height = vera.known().height
    network.keeper.seal("open", 3)
    block = network.keeper.blocks(height + 1)[0]
    wrong = forge(network, block, state_root=bytes(32))
    with pytest.raises(Refusal) as refused:
        vera.follow([wrong])
    assert refused.value.code == "wrong_block"
    assert vera.known().height == height
    (vote,) = network.follow(vera)
    assert verify_vote(vote, network.genesis.hash)
    assert vote.block_hash == block.hash


def test_a_validator_signs_one_history_only(network: Any) -> None:
    vera = network.validators["vera"]
    known = network.keeper.blocks(6)[0]
    assert vera.follow([known])[0].block_hash == known.hash, "what it holds it signs again"
    other = forge(network, known, term=known.header.term + 1)
    with pytest.raises(Refusal) as refused:
        vera.follow([other])
    assert refused.value.code == "wrong_block"
    with pytest.raises(Refusal):
        vera.follow([forge(network, known, height=9)])


def test_nothing_is_asked_or_voted_outside_its_epoch(network: Any) -> None:
    vera = network.validators["vera"]
    for epoch in (2, 3):
        with pytest.raises(Refusal) as refused:
            vera.draw(epoch)
        assert refused.value.code == "wrong_epoch"
    for method in (vera.commit, vera.reveal, vera.finding):
        with pytest.raises(NoBallot, match="epoch 3"):
            method(3)


def test_a_hostile_answer_costs_its_peer_the_epoch_and_nobody_else(network: Any) -> None:
    network.seal("open")
    echo, hotkey = network.uid("echo"), network.wallets["echo"].hotkey()
    answers = network.ask()
    bad = [poisoned(hotkey, answer) if answer.signer == hotkey.public else answer for answer in answers]
    for finding in network.vote(bad).values():
        failures = {neuron.uid: neuron.failure for neuron in finding.neurons if neuron.failure}
        assert set(failures) == {echo}
        assert failures[echo].startswith("invalid: ")
    assert network.keeper.view().supply.minted_rao == 3 * MINTED_AN_EPOCH_RAO


def poisoned(hotkey: Any, answer: Any) -> Any:
    """The same answer with one NaN, signed by its peer."""
    values = answer.said.log_probability_C.copy()
    values[1] = np.nan
    said = dataclasses.replace(answer.said, log_probability_C=values)
    return sign_answer(hotkey, query=answer.query, version=answer.version, first=answer.first, said=said)


def test_a_member_that_cannot_be_asked_makes_nobody_new(network: Any, versions: Any) -> None:
    network.publish("grace", versions[1]["grace 2"])
    network.seal("open")
    gone = network.version("ada")
    answers = [answer for answer in network.ask() if answer.version != gone]
    for finding in network.vote(answers, {gone: "dead: its host died 3 times"}).values():
        assert finding.new_bits == 0
        assert not any(neuron.admitted for neuron in finding.neurons)
        told = {neuron.uid: neuron.failure for neuron in finding.neurons}
        assert told[network.uid("ada")] == "dead: its host died 3 times"
    assert network.keeper.view().neurons[network.uid("ada")].incentive_rao == 0, "who does not answer gets no vote"


def test_another_peers_version_cannot_be_published(network: Any) -> None:
    before = network.version("echo")
    network.publish("echo", network.version("grace"))
    (refused,) = network.keeper.seal("open", 3).refused
    assert refused.endswith("already_published")
    assert network.version("echo") == before


def test_who_takes_over_a_uid_begins_at_an_empty_account(found_network: Callable[..., Any], versions: Any) -> None:
    network = found_network(
        stakes_tao={"vera": 100}, peers=("ada", "grace", "late"), parameters=Parameters(max_uids=3, immunity=0)
    )
    for name in ("ada", "grace"):
        network.register(name)
        network.publish(name, versions[1][name])
    network.run_epoch()
    accounts = read_evidence(network.evidence_path(1, "vera")).books.accounts
    assert set(accounts) == {1, 2}
    network.register("late")
    network.publish("late", versions[1]["echo"])
    network.run_epoch()
    uid = network.uid("late")
    kept = read_evidence(network.evidence_path(2, "vera")).accounts_before
    assert kept == {other: account for other, account in accounts.items() if other != uid}


def test_the_keeper_seals_a_block_once(network: Any) -> None:
    sealed = network.keeper.seal("open", 3)
    assert network.keeper.seal("open", 3) == sealed
    network.keeper.close()
    network.keeper = network.make_keeper()
    assert network.keeper.seal("open", 3) == sealed
    assert network.keeper.position().height == 7
    for kind, epoch in (("open", 2), ("commit", 2), ("commit", 4), ("close", 2)):
        with pytest.raises(Refusal):
            network.keeper.seal(kind, epoch)
    assert network.keeper.position().height == 7


def test_the_keeper_queues_what_is_signed_and_refuses_the_rest(network: Any, versions: Any) -> None:
    hotkey = network.wallets["grace"].hotkey_public()
    assert not network.keeper.waiting(hotkey)
    network.publish("grace", versions[1]["grace 2"])
    assert network.keeper.waiting(hotkey)
    (outcome,) = network.keeper.submit([b"nonsense"])
    assert outcome.startswith("undecodable: ")
    network.seal("open")
    assert not network.keeper.waiting(hotkey)
    assert network.version("grace") == versions[1]["grace 2"]


def test_the_keeper_names_whose_signatures_are_missing(network: Any) -> None:
    sealed = network.keeper.seal("open", 3)
    standing = network.keeper.add_votes(sealed.height, [])
    assert not standing.final
    assert set(standing.missing) == {network.wallets[name].hotkey_public() for name in network.validators}
    vera, victor = network.validators["vera"], network.validators["victor"]
    votes = [vote for validator in (vera, victor) for vote in network.follow(validator)]
    standing = network.keeper.add_votes(sealed.height, votes)
    assert standing.final, "75 of 100 are more than two thirds"
    assert standing.missing == (network.wallets["viola"].hotkey_public(),)


def test_a_ballot_is_readable_by_its_owner_only(network: Any) -> None:
    ballot = network.folder / "validators" / "vera" / "ballots" / "000002"
    assert ballot.stat().st_mode & 0o077 == 0
    assert len(msgspec.msgpack.decode(ballot.read_bytes())["salt"]) == 32


def test_a_second_keeper_takes_over_while_the_first_goes_on(network: Any) -> None:
    first, voters = network.keeper, list(network.validators.values())
    network.submit_transfer()
    first.seal("open", 3)
    second = network.make_second_keeper()
    pledges = [validator.promise(1) for validator in voters]
    second.absorb(voters[0].blocks(1), first.votes(1))
    mandate = second.lead(1, pledges)
    assert (second.term(), mandate.base.height) == (1, 6)
    assert second.lead(1, pledges) == mandate, "a call that is repeated changes nothing"
    with pytest.raises(Refusal) as refused:
        second.lead(1, pledges[1:])
    assert refused.value.code == "wrong_term"
    assert second.mandate() == mandate
    for validator in voters:
        with pytest.raises(Refusal):
            network.follow(validator)
    sealed = second.seal("open", 3)
    with pytest.raises(Refusal) as refused:
        second.seal("commit", 3)
    assert refused.value.code == "not_final"
    network.keeper = second
    votes = [vote for validator in voters for vote in network.follow(validator)]
    assert {vote.term for vote in votes} == {1}
    assert second.add_votes(sealed.height, votes).final
    assert first.position().block_hash != sealed.block_hash
    first.absorb(second.blocks(7), second.votes(7))
    assert first.position().block_hash == sealed.block_hash
    with pytest.raises(Refusal) as refused:
        first.seal("commit", 3)
    assert refused.value.code in ("no_mandate", "not_final")
    assert first.waiting(network.wallets["ada"].coldkey_public), "what gave way waits in the queue again"
    first.close()


def test_a_promise_outlives_the_validator(network: Any) -> None:
    vera = network.validators["vera"]
    pledge = vera.promise(4)
    assert pledge.promise.last.height == 6
    vera = network.restart_validator("vera")
    with pytest.raises(Refusal) as refused:
        vera.promise(4)
    assert refused.value.code == "wrong_term"
    network.keeper.seal("open", 3)
    with pytest.raises(Refusal) as refused:
        network.follow(vera)
    assert refused.value.code == "no_mandate"

"""Votes: committed, then revealed, once, with what was committed to."""

import pytest
from msgspec.structs import replace

from ledger.extrinsics import BASELINE_MANIFEST, BASELINE_UID, Member, Publish, decode_extrinsic
from ledger.units import blake2b_256


@pytest.fixture
def opened(network):
    network.seal(
        "open",
        [network.sign(Publish(manifest=network.manifest(uid, 1)), network.hotkeys[uid]) for uid in network.peers],
    )
    return network


def _commit(network, *votes):
    commits = [network.sign(network.commit_call(uid, reveal), network.hotkeys[uid]) for uid, reveal in votes]
    return network.seal("commit", commits).receipts


def _close(network, *votes):
    return network.seal("close", [network.sign(reveal, network.hotkeys[uid]) for uid, reveal in votes]).receipts


def test_a_vote_counts_once_and_an_empty_row_is_a_vote(opened):
    reveal, empty = opened.ballot(0, (4, 5), (1, 2)), opened.ballot(1, (), ())
    assert _commit(opened, (0, reveal), (1, empty), (0, reveal)) == ("ok", "ok", "already_committed")
    assert _close(opened, (0, reveal), (1, empty), (0, reveal)) == ("ok", "ok", "already_revealed")
    state = opened.chain.state
    assert sorted(state.reveals()) == [0, 1]
    assert (state.neuron(1).revealed_epoch, state.neuron(1).last_update) == (1, 2)
    assert state.neuron(0).evidence == reveal.evidence
    assert state.neuron(2).revealed_epoch == 0
    opened.seal("open")
    assert state.reveals() == {}
    assert state.commitments() == {}


def test_only_permitted_neurons_vote_and_only_for_this_epoch(opened):
    reveal = opened.ballot(0, (4,), (1,))
    stranger = opened.sign(opened.commit_call(0, reveal), opened.treasury)
    peer = opened.sign(opened.commit_call(4, reveal), opened.hotkeys[4])
    later = opened.sign(replace(opened.commit_call(0, reveal), epoch=2), opened.hotkeys[0])
    assert opened.seal("commit", [stranger, peer, later]).receipts == ("not_registered", "no_permit", "wrong_epoch")
    assert _close(opened, (0, reveal), (4, reveal)) == ("no_commitment", "no_permit")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"uids": (4, 4), "values": (1, 2)}, "bad_weights"),
        ({"uids": (5, 4), "values": (1, 2)}, "bad_weights"),
        ({"uids": (4,), "values": (1, 2)}, "bad_weights"),
        ({"uids": (4, 99), "values": (1, 2)}, "bad_weights"),
        ({"strata": ()}, "invalid_collective"),
        ({"strata": ("tests", "code")}, "invalid_collective"),
        ({"strata": ("code",)}, "invalid_collective"),
        ({"members": (Member(uid=4, manifest=b"\7" * 32, weights=(1, 1)),)}, "invalid_collective"),
        (
            {"members": (Member(uid=BASELINE_UID, manifest=BASELINE_MANIFEST, weights=(1, 1)),) * 2},
            "invalid_collective",
        ),
        ({"seed_signature": bytes(64)}, "bad_seed"),
    ],
)
def test_a_reveal_that_breaks_a_rule_is_refused_though_it_was_committed_to(opened, changes, code):
    reveal = replace(opened.ballot(0, (4, 5), (1, 2)), **changes)
    assert _commit(opened, (0, reveal)) == ("ok",)
    assert _close(opened, (0, reveal)) == (code,)
    assert opened.chain.state.reveals() == {}


@pytest.mark.parametrize("field", ["uids", "values", "evidence", "salt", "members"])
def test_a_reveal_of_something_else_is_refused(opened, field):
    reveal = opened.ballot(0, (4, 5), (1, 2))
    other = {"uids": (4, 6), "values": (1, 3), "evidence": bytes(32), "salt": bytes(32), "members": reveal.members[1:]}
    assert _commit(opened, (0, reveal)) == ("ok",)
    assert _close(opened, (0, replace(reveal, **{field: other[field]}))) == ("commitment_mismatch",)


def test_another_validators_vote_cannot_be_copied(opened):
    """The commitment binds the hotkey: who commits to another's hash can't reveal it."""
    reveal = opened.ballot(0, (4, 5), (1, 2))
    copied = opened.sign(opened.commit_call(0, reveal), opened.hotkeys[1])
    assert opened.seal("commit", [copied]).receipts == ("ok",)
    assert _close(opened, (1, reveal)) == ("commitment_mismatch",)


def test_a_seed_of_another_epoch_is_refused(network):
    close = network.run_epoch()
    old = network.chain.state.reveals()[0]
    assert old.height == 2
    network.seal("open")
    assert network.chain.state.globals.previous_close_hash == close.hash
    data = network.chain.block(3).extrinsics[0]
    stale = decode_extrinsic(data).call.seed_signature
    reveal = replace(network.ballot(0, (), ()), seed_signature=stale)
    assert _commit(network, (0, reveal)) == ("ok",)
    assert _close(network, (0, reveal)) == ("bad_seed",)
    assert network.chain.receipt(blake2b_256(data)).code == "ok"


def test_late_votes_have_their_own_codes(opened):
    reveal, commit = opened.ballot(0, (4,), (1,)), opened.commit_call(1, opened.ballot(1, (), ()))
    assert _commit(opened, (0, reveal)) == ("ok",)
    late_commit = opened.seal("close", [opened.sign(commit, opened.hotkeys[1])])
    assert late_commit.receipts == ("late_commitment",)
    for kind in ("open", "commit", "close"):
        late = opened.seal(kind, [opened.sign(reveal, opened.hotkeys[0]), opened.sign(commit, opened.hotkeys[1])])
        assert late.receipts == ("late_reveal", "late_commitment")


def test_a_missing_reveal_costs_the_vote_and_is_counted(opened):
    shown, hidden = opened.ballot(0, (4,), (1,)), opened.ballot(1, (4,), (1,))
    assert _commit(opened, (0, shown), (1, hidden)) == ("ok", "ok")
    assert _close(opened, (0, shown)) == ("ok",)
    neurons = opened.chain.state.neurons()
    assert [neuron.missed_reveals for neuron in neurons[:3]] == [0, 1, 0]
    assert (neurons[0].revealed_epoch, neurons[1].revealed_epoch) == (1, 0)

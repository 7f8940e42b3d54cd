"""Cohorts on a chain: contributions in the open block, values in the reveals, what the close block makes of them."""

import pytest
from msgspec.structs import replace

from ledger.entries import Accepted
from ledger.execution import next_kind
from ledger.extrinsics import Contribute, Register, RoundVote, SwapHotkey, UpdateValue
from ledger.parameters import Parameters
from ledger.store.mempool import Mempool, select
from ledger.store.metagraph import metagraph_table
from ledger.store.replay import verify
from ledger.units import CAP_RAO

COHORT, THETA, MANIFEST = b"\1" * 32, b"\2" * 32, b"\3" * 32


def payload(uid, epoch=1):
    return bytes([uid, epoch]) * 16


def contribute(network, uid, *, epoch=1, cohort=COHORT, parameters=THETA, payload_hash=None):
    call = Contribute(cohort=cohort, epoch=epoch, parameters=parameters, payload=payload_hash or payload(uid, epoch))
    return network.sign(call, network.hotkeys[uid])


def round_vote(values, applied=None, *, parameters=THETA, manifest=MANIFEST, cohort=COHORT):
    listed = [
        tuple(UpdateValue(uid=uid, value=value) for uid, value in said.items()) for said in (values, applied or {})
    ]
    return RoundVote(cohort=cohort, parameters=parameters, manifest=manifest, values=listed[0], applied=listed[1])


def vote(network, rounds):
    """Commit and close the epoch; `rounds` by validator, for those that vote. The receipts of the reveals."""
    ballots = {uid: replace(network.ballot(uid, (), ()), rounds=said) for uid, said in rounds.items()}
    commits = [network.sign(network.commit_call(uid, ballot), network.hotkeys[uid]) for uid, ballot in ballots.items()]
    network.vote_all(network.seal("commit", commits).height)
    close = network.seal("close", [network.sign(ballot, network.hotkeys[uid]) for uid, ballot in ballots.items()])
    network.vote_all(close.height)
    return close.receipts


def open_epoch(network, *extrinsics):
    block = network.seal("open", extrinsics)
    network.vote_all(block.height)
    return block.receipts


def test_a_round_from_contributions_to_sums(network):
    state = network.chain.state
    assert open_epoch(network, *(contribute(network, uid) for uid in (5, 4, 6))) == ("ok",) * 3
    assert [(uid, row.place, row.epoch) for uid, row in state.contributions().items()] == [
        (4, 2, 1),
        (5, 1, 1),
        (6, 3, 1),
    ]
    said = round_vote({4: 10, 5: -10, 6: 10})
    receipts = vote(
        network, {0: (said,), 1: (said,), 2: (round_vote({4: -1, 5: 99}),), 3: (round_vote({4: -1, 5: 99}),)}
    )
    assert receipts == ("ok",) * 4
    first = state.cohorts()[COHORT]
    assert (first.epoch, first.parameters, first.manifest, first.sums) == (1, THETA, MANIFEST, ())
    assert first.accepted == (Accepted(uid=4, payload=payload(4)), Accepted(uid=6, payload=payload(6)))
    rows = metagraph_table(network.chain).to_pylist()
    assert [row["uid"] for row in rows if row["update_accepted"]] == [4, 6]
    assert [row["uid"] for row in rows if row["cohort"] == COHORT.hex()] == [4, 5, 6]
    assert set(state.contributions()) == {4, 5, 6}

    theta = b"\4" * 32
    assert open_epoch(network, contribute(network, 5, epoch=2, parameters=theta)) == ("ok",)
    assert set(state.contributions()) == {5}
    said = round_vote({5: 3}, {4: 1000, 6: -5}, parameters=theta)
    assert vote(network, dict.fromkeys(range(4), (said,))) == ("ok",) * 4
    second = state.cohorts()[COHORT]
    assert (second.epoch, second.parameters) == (2, theta)
    assert second.accepted == (Accepted(uid=5, payload=payload(5, 2)),)
    assert second.sums == (UpdateValue(uid=4, value=1000),)
    assert {row["uid"]: row["update_sum_nano"] for row in metagraph_table(network.chain).to_pylist()}[4] == 1000

    open_epoch(network)
    assert state.contributions() == {}
    torn = {0: (round_vote({}, {5: 7}, parameters=theta),), 3: (round_vote({}, {5: 7}),), 1: (), 2: ()}
    assert vote(network, torn) == ("ok",) * 4
    assert state.cohorts()[COHORT] == second
    assert verify(network.chain.path).state_root == state.root


def test_money_goes_as_it_would_without_cohorts(make_network):
    with_rounds, without = make_network(), make_network()
    for network in (with_rounds, without):
        joins = network is with_rounds
        open_epoch(network, *([contribute(network, 4)] if joins else []))
        vote(network, {uid: (round_vote({4: 5}),) if joins else () for uid in range(4)})
    assert with_rounds.chain.state.supply() == without.chain.state.supply()
    stakes = [[network.chain.state.stake(key.public) for key in network.hotkeys] for network in (with_rounds, without)]
    assert stakes[0] == stakes[1]


def test_the_last_contribution_before_the_open_block_counts(network):
    hotkey = network.hotkeys[4]
    twice = [contribute(network, 4, payload_hash=payload(9)), contribute(network, 5), contribute(network, 4)]
    assert open_epoch(network, *twice) == ("ok",) * 3
    rows = network.chain.state.contributions()
    assert (rows[4].payload, rows[4].place, rows[5].place) == (payload(4), 3, 2)
    assert network.chain.state.nonce(hotkey.public) == 2


@pytest.mark.parametrize(
    ("uid", "epoch", "code"), [(4, 2, "wrong_epoch"), (4, 0, "late_contribution"), (None, 1, "not_registered")]
)
def test_a_contribution_is_of_a_neuron_and_for_the_epoch_that_opens(network, uid, epoch, code):
    signer = network.treasury if uid is None else network.hotkeys[uid]
    call = Contribute(cohort=COHORT, epoch=epoch, parameters=THETA, payload=payload(4))
    assert open_epoch(network, network.sign(call, signer)) == (code,)
    assert network.chain.state.contributions() == {}
    assert network.chain.state.nonce(signer.public) == 0


def test_contributions_are_limited(make_network):
    network = make_network(parameters=Parameters(contribute_limit=1))
    assert open_epoch(network, contribute(network, 4), contribute(network, 4)) == ("ok", "rate_limited")


def test_what_is_late_leaves_the_queue_and_does_not_hold_up_the_next(network, tmp_path):
    chain, mempool = network.chain, Mempool(tmp_path / "mempool.db", network.chain.genesis_hash)
    open_epoch(network)
    late = network.sign(Contribute(cohort=COHORT, epoch=1, parameters=THETA, payload=payload(4)), network.hotkeys[4])
    mempool.submit(late)
    chosen = select(mempool.pending(), chain.state, next_kind(chain.state), chain.head.height + 1)
    assert (chosen.extrinsics, len(chosen.dropped)) == ([], 1)
    mempool.remove(chosen.dropped)
    early = network.sign(
        Contribute(cohort=COHORT, epoch=2, parameters=THETA, payload=payload(4)), network.hotkeys[4], nonce=1
    )
    mempool.submit(early)
    vote(network, dict.fromkeys(range(4), ()))
    chosen = select(mempool.pending(), chain.state, next_kind(chain.state), chain.head.height + 1)
    assert chosen.extrinsics == [early]
    assert open_epoch(network, *chosen.extrinsics) == ("ok",)
    mempool.close()


@pytest.mark.parametrize(
    "rounds",
    [
        (round_vote({4: 1}, cohort=b"\7" * 32),),
        (round_vote({4: 1}), round_vote({4: 1})),
        (round_vote({5: 1, 4: 1}),),
        (round_vote({4: 1, 6: 1}),),
        (round_vote({4: 1}, {4: 1}),),
        (round_vote({4: 1}), round_vote({6: 1}, cohort=b"\6" * 32), round_vote({}, cohort=b"\7" * 32)),
    ],
    ids=["unknown cohort", "twice", "unsorted", "of another cohort", "nothing was applied", "too many"],
)
def test_a_vote_values_only_what_the_ledger_knows_of(make_network, rounds):
    network = make_network(parameters=Parameters(max_cohorts=2))
    open_epoch(network, contribute(network, 4), contribute(network, 5), contribute(network, 6, cohort=b"\6" * 32))
    assert vote(network, {0: rounds, 1: (round_vote({4: 1}),)}) == ("invalid_rounds", "ok")
    assert network.chain.state.reveals().keys() == {1}
    assert set(network.chain.state.cohorts()) <= {COHORT}


def test_a_uid_that_changes_hands_leaves_its_update_in_the_step_and_nothing_else(make_network):
    network = make_network(parameters=Parameters(max_uids=11, immunity=0))
    state = network.chain.state
    open_epoch(network, contribute(network, 4), contribute(network, 5))
    vote(network, dict.fromkeys(range(4), (round_vote({4: 9, 5: 9}),)))
    theta = b"\4" * 32
    open_epoch(network, contribute(network, 5, epoch=2, parameters=theta))
    vote(network, dict.fromkeys(range(4), (round_vote({5: 9}, {4: 8, 5: 8}, parameters=theta),)))
    assert [each.uid for each in state.cohorts()[COHORT].sums] == [4, 5]
    open_epoch(network, contribute(network, 4, epoch=3), contribute(network, 5, epoch=3))
    vote(network, {0: ()})

    newcomer = network.treasury
    replaced = [network.sign(_register(uid), newcomer) for uid in range(7)]
    assert set(open_epoch(network, contribute(network, 5, epoch=4), *replaced)) == {"ok"}
    row = state.cohorts()[COHORT]
    assert row.accepted == (Accepted(uid=5, payload=payload(5, 2), left=True),)
    assert (row.sums, state.contributions()) == ((), {})
    vote(network, dict.fromkeys(range(4), (round_vote({}, {5: 10**6}, parameters=b"\5" * 32),)))
    assert state.cohorts()[COHORT].sums == ()
    assert verify(network.chain.path).state_root == state.root


def test_a_hotkey_that_is_swapped_keeps_its_place(network):
    state, old = network.chain.state, network.hotkeys[4]
    swap = network.sign(SwapHotkey(old=old.public, new=network.treasury.public), network.coldkeys[4])
    assert open_epoch(network, contribute(network, 4), swap) == ("ok", "ok")
    assert state.contributions()[4].payload == payload(4)
    vote(network, dict.fromkeys(range(4), (round_vote({4: 9}),)))
    assert state.cohorts()[COHORT].accepted == (Accepted(uid=4, payload=payload(4)),)


def _register(number):
    return Register(hotkey=bytes([90 + number]) * 32, name=f"newcomer {number}", max_price_rao=CAP_RAO)

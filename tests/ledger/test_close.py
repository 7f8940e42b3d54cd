"""The close of an epoch: who is paid, who may validate next, and what the state says afterwards."""

import pytest
from msgspec.structs import replace

from ledger.entries import Neuron
from ledger.epoch.close import apply_payout, compute_minted_rao
from ledger.epoch.fixed import ONE_Q31
from ledger.errors import Refusal
from ledger.extrinsics import AddStake, Publish, Register
from ledger.keys import Keypair
from ledger.parameters import Parameters
from ledger.units import CAP_RAO, RAO_PER_TAO

EPOCH_RAO = 360 * RAO_PER_TAO


def test_half_goes_to_incentive_by_consensus_and_half_to_dividends(network):
    before = [network.chain.state.stake(key.public) for key in network.hotkeys]
    network.run_epoch()
    state = network.chain.state
    neurons: list[Neuron] = state.neurons()
    assert sum(neuron.incentive_rao for neuron in neurons) == EPOCH_RAO // 2
    assert sum(neuron.dividends_rao for neuron in neurons) == EPOCH_RAO // 2
    assert sum(neuron.incentive_q31 for neuron in neurons) == ONE_Q31
    shares = [neurons[uid].incentive_rao / (EPOCH_RAO // 2) for uid in network.peers]
    assert shares == pytest.approx([(1 + position) / 28 for position in range(7)], abs=1e-8)
    dividends = [neurons[uid].dividends_rao / (EPOCH_RAO // 2) for uid in network.validators]
    assert dividends == pytest.approx([0.29, 0.26, 0.24, 0.21], abs=1e-8)
    for neuron, stake_rao in zip(neurons, before, strict=True):
        assert state.stake(neuron.hotkey) == stake_rao + neuron.emission_rao


def test_a_validator_keeps_its_take_and_its_stakers_share_the_rest(network):
    staker = Keypair.generate()
    hotkey, coldkey = network.hotkeys[0].public, network.coldkeys[0].public
    network.run_epoch([network.sign(AddStake(hotkey=hotkey, amount_rao=58 * RAO_PER_TAO), network.treasury)])
    state = network.chain.state
    dividends_rao = state.neuron(0).dividends_rao
    kept_rao = dividends_rao * 18 // 100
    stakers_rao = (dividends_rao - kept_rao) * 58 // 348
    assert abs(state.stake_of(hotkey, network.treasury.public) - (58 * RAO_PER_TAO + stakers_rao)) <= 2
    assert state.stake_of(hotkey, staker.public) == 0
    owned_rao = 290 * RAO_PER_TAO + dividends_rao - stakers_rao
    assert abs(state.stake_of(hotkey, coldkey) - owned_rao) <= 4


def test_without_votes_all_goes_to_stake_and_the_collective_stays(network):
    network.run_epoch(voting=[])
    state = network.chain.state
    neurons = state.neurons()
    assert sum(neuron.dividends_rao for neuron in neurons) == EPOCH_RAO
    assert neurons[0].dividends_rao == pytest.approx(EPOCH_RAO * 0.29)
    assert not any(neuron.incentive_rao for neuron in neurons)
    assert [member.uid for member in state.collective.members] == [65535]


def test_the_close_fixes_the_next_collective(network):
    network.run_epoch()
    collective = network.chain.state.collective
    assert collective.strata == ("code", "tests")
    assert [member.uid for member in collective.members] == [*network.peers, 65535]
    for column in zip(*(member.weights for member in collective.members), strict=True):
        assert sum(column) == ONE_Q31


def test_permits_follow_stake_one_epoch_later_and_bonds_belong_to_permits(make_network):
    network = make_network(parameters=Parameters(max_validators=4))
    stake = AddStake(hotkey=network.hotkeys[10].public, amount_rao=500 * RAO_PER_TAO)
    network.run_epoch([network.sign(stake, network.treasury)])
    state = network.chain.state
    assert [neuron.uid for neuron in state.neurons() if neuron.permit] == [0, 1, 2, 10]
    assert sorted(state.bonds.entries) == [uid.to_bytes(2, "big") for uid in (0, 1, 2)]
    assert network.hotkeys[10].public not in {member.hotkey for member in state.finality_set}
    network.run_epoch(voting=[0, 1, 2, 10])
    assert network.hotkeys[10].public in {member.hotkey for member in state.finality_set}


def test_a_vote_on_a_neuron_of_this_epoch_counts(network):
    newcomer = Keypair.generate()
    register = network.sign(
        Register(hotkey=newcomer.public, name="new", max_price_rao=2 * RAO_PER_TAO), network.treasury
    )
    publish = network.sign(Publish(manifest=b"\1" * 32), newcomer)
    assert network.seal("open", [register, publish]).receipts == ("ok", "ok")
    assert [neuron.uid for neuron in network.chain.state.roster()] == [11]
    reveals = {uid: network.ballot(uid, (11,), (9,)) for uid in network.validators}
    network.seal(
        "commit", [network.sign(network.commit_call(uid, vote), network.hotkeys[uid]) for uid, vote in reveals.items()]
    )
    network.seal("close", [network.sign(vote, network.hotkeys[uid]) for uid, vote in reveals.items()])
    assert network.chain.state.neuron(11).incentive_rao == EPOCH_RAO // 2


def test_minting_stops_at_the_cap(network):
    state = network.chain.state
    scalars = state.globals
    for left_rao in (0, 1, 1000):
        state.scalars.put(b"", replace(scalars, issuance_rao=CAP_RAO - left_rao))
        assert compute_minted_rao(state) <= left_rao
    state.undo()


def test_a_payout_without_stake_goes_to_the_coldkey(network):
    state, neuron = network.chain.state, network.chain.state.neuron(5)
    apply_payout(state, neuron, 700, 300)
    assert state.stake_of(neuron.hotkey, neuron.coldkey) == 1000
    with pytest.raises(Exception, match="issuance"):
        state.seal()
    state.undo()
    assert state.stake(neuron.hotkey) == 0


def test_the_keeper_cannot_skip_to_the_close(network):
    network.seal("open")
    with pytest.raises(Refusal, match="'commit'"):
        network.seal("close")


def test_stake_that_never_voted_does_not_weigh_in_consensus(make_network):
    """Peers that earned more than all validators hold get permits, and still can't keep the voters from agreeing."""
    network = make_network(validators=2, peers=2)
    stake = AddStake(hotkey=network.hotkeys[3].public, amount_rao=900 * RAO_PER_TAO)
    network.run_epoch([network.sign(stake, network.treasury)])
    network.run_epoch()
    state = network.chain.state
    assert (state.neuron(3).permit, state.neuron(3).active) == (True, False)
    assert state.neuron(2).incentive_rao > 0
    assert {member.hotkey for member in state.finality_set} == {network.hotkeys[uid].public for uid in (0, 1)}

"""The close of an epoch: consensus on the reveals, minting, payouts, permits, bonds, the next collective, the
rounds of cohorts and the finality set.

Invariants: everything is computed from the state before the first payout, then applied in one place; what is paid is
what is minted; the finality set is never empty, since it stays as it was when nobody qualifies.
"""

from msgspec.structs import replace

from ledger.entries import NEVER, Bonds, Cohort, FinalitySet, Neuron, Weighted
from ledger.epoch.cohorts import compute_cohorts
from ledger.epoch.collective import compute_collective
from ledger.epoch.consensus import Inputs, Outcome, compute_epoch
from ledger.epoch.emission import CAP_RAO, Emission, epoch_emission_rao, split_emission
from ledger.rules.funds import pay_into_pool, raise_pool
from ledger.state import State, uid_key


def apply_close(state: State) -> None:
    """Close the current epoch."""
    neurons = state.neurons()
    outcome = compute_epoch(compute_inputs(state, neurons), state.parameters.rules)
    emission = split_emission(compute_minted_rao(state), outcome)
    proposals = [
        (state.stake(neurons[uid].hotkey), revealed) for uid, revealed in state.reveals().items() if neurons[uid].permit
    ]
    collective = compute_collective(proposals, state.collective, state.parameters)
    cohorts = compute_cohorts(
        proposals, state.cohorts(), state.contributions(), state.globals.epoch, state.parameters.max_cohorts
    )

    for neuron in neurons:
        apply_payout(state, neuron, emission.incentive_rao[neuron.uid], emission.dividends_rao[neuron.uid])
    _apply_minted(state, emission)
    _apply_outcome(state, neurons, outcome, emission)
    _apply_bonds(state, outcome)
    state.collectives.put(b"", collective)
    _apply_cohorts(state, cohorts)
    _apply_finality_set(state)


def compute_inputs(state: State, neurons: list[Neuron]) -> Inputs:
    """What consensus reads: stake before payouts, this epoch's reveals, last epoch's bonds."""
    epoch = state.globals.epoch
    return Inputs(
        stake_rao=[state.stake(neuron.hotkey) for neuron in neurons],
        active=[is_active(state, neuron) for neuron in neurons],
        permits=[neuron.permit for neuron in neurons],
        last_update=[neuron.last_update for neuron in neurons],
        registered_at=[neuron.registered_at for neuron in neurons],
        newly_registered=[neuron.registered_epoch == epoch for neuron in neurons],
        weights={uid: (revealed.uids, revealed.values) for uid, revealed in state.reveals().items()},
        bonds={
            uid: (row.uids, row.values)
            for uid in range(len(neurons))
            if (row := state.bonds.get(uid_key(uid))) is not None
        },
    )


def is_active(state: State, neuron: Neuron) -> bool:
    """Whether the neuron voted within the activity cutoff: who never votes has no say, however much it earned."""
    elapsed = (state.globals.epoch - neuron.revealed_epoch) * state.parameters.tempo
    return neuron.revealed_epoch != NEVER and elapsed <= state.parameters.activity_cutoff


def compute_minted_rao(state: State) -> int:
    """What the epoch mints at most: `tempo` times the block emission, never beyond the cap."""
    issuance_rao = state.globals.issuance_rao
    return min(epoch_emission_rao(issuance_rao, state.parameters.tempo), CAP_RAO - issuance_rao)


def apply_payout(state: State, neuron: Neuron, incentive_rao: int, dividends_rao: int) -> None:
    """Pay a neuron: of dividends its take to its coldkey's shares and the rest to all stakers, incentive to its
    coldkey's shares.
    """
    numerator, denominator = state.take(neuron.hotkey)
    kept_rao = dividends_rao * numerator // denominator
    if state.pool(neuron.hotkey) is None:
        kept_rao = dividends_rao
    elif dividends_rao:
        raise_pool(state, neuron.hotkey, dividends_rao - kept_rao)
    pay_into_pool(state, neuron.hotkey, neuron.coldkey, kept_rao + incentive_rao)


def _apply_minted(state: State, emission: Emission) -> None:
    scalars, minted_rao = state.globals, emission.minted_rao
    state.scalars.put(
        b"",
        replace(scalars, issuance_rao=scalars.issuance_rao + minted_rao, minted_rao=scalars.minted_rao + minted_rao),
    )


def _apply_outcome(state: State, neurons: list[Neuron], outcome: Outcome, emission: Emission) -> None:
    unrevealed = state.commitments().keys() - state.reveals().keys()
    next_epoch = state.globals.epoch + 1
    for uid, neuron in enumerate(neurons):
        closed = replace(
            neuron,
            permit=outcome.permits[uid] and state.barred_until(neuron.hotkey) <= next_epoch,
            missed_reveals=neuron.missed_reveals + (uid in unrevealed),
            active=is_active(state, neuron),
            rank_q31=outcome.rank_q31[uid],
            incentive_q31=outcome.incentive_q31[uid],
            dividends_q31=outcome.dividends_q31[uid],
            consensus_q31=outcome.consensus_q31[uid],
            validator_trust_q31=outcome.validator_trust_q31[uid],
            incentive_rao=emission.incentive_rao[uid],
            dividends_rao=emission.dividends_rao[uid],
        )
        state.neuron_rows.put(uid_key(uid), closed)


def _apply_bonds(state: State, outcome: Outcome) -> None:
    for key in set(state.bonds.entries) - {uid_key(uid) for uid in outcome.kept_bonds}:
        state.bonds.put(key, None)
    for uid, (uids, values) in outcome.kept_bonds.items():
        state.bonds.put(uid_key(uid), Bonds(uids=tuple(uids), values=tuple(values)))


def _apply_cohorts(state: State, cohorts: dict[bytes, Cohort]) -> None:
    before = state.cohorts()
    for name in before.keys() - cohorts.keys():
        state.cohort_rows.put(name, None)
    for name, row in cohorts.items():
        if row != before.get(name):
            state.cohort_rows.put(name, row)


def _apply_finality_set(state: State) -> None:
    """Permitted neurons that revealed within the activity cutoff, by the stake they have now."""
    members = tuple(
        Weighted(hotkey=neuron.hotkey, stake_rao=state.stake(neuron.hotkey))
        for neuron in state.neurons()
        if neuron.permit and is_active(state, neuron)
    )
    if members:
        state.finality_sets.put(b"", FinalitySet(members=members))

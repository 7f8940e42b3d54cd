"""Yuma consensus: from stake, votes and old bonds to incentive, dividends, new bonds and permits.

Invariants:
* Pure, and integers only: the same inputs give the same bits on every machine.
* Whatever stake below κ votes, it cannot lift a neuron above what stake of at least κ agrees on.
* Where any vote carries weight, incentive and dividends each sum to exactly 2^31.

Shapes: N uids, V validators (permitted uids with a vote or bonds, ascending), M targets (uids that one of their rows
names, ascending). A suffix gives a tensor's axes, as in weights_VM.
Source: the epoch of opentensor/subtensor (stake-weighted median, clipping, bonds by moving average; Yuma 3), bonds kept
in Q31.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from ledger.epoch.bonds import (
    compute_classic_bonds,
    compute_classic_dividends,
    compute_liquid_alpha,
    compute_pair_dividends,
    interpolate,
    mix_q31,
)
from ledger.epoch.fixed import ONE_Q31, Q31_BITS, Int64s, Ratio, normalize_q31, normalize_rows_q31, threshold_q31
from ledger.epoch.rows import Row, find_targets, parse_rows, to_matrix, to_rows

MAX_WEIGHT = 65535
"""Votes are u16."""

UID_BITS = 16
"""Room for a validator's place beside a Q31 share in one sortable integer."""

Profile = Literal["classic", "yuma3"]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of consensus. Ratios are (numerator, denominator), both below 2^31.

    `alpha` is the share of the new vote in the moving average of bonds. `bonds_penalty` says how far the vote that
    bonds stand for is moved towards its clipped form: 1 is all the way. With `liquid_alpha`, a choice of `yuma3`, every
    pair has a rate of its own from `alpha_low` to `alpha_high`, by a logistic curve of `alpha_steepness`.
    """

    profile: Profile = "classic"
    kappa: Ratio = (32767, 65535)
    alpha: Ratio = (1, 10)
    bonds_penalty: Ratio = (1, 1)
    liquid_alpha: bool = False
    alpha_low: Ratio = (7, 10)
    alpha_high: Ratio = (9, 10)
    alpha_steepness: Ratio = (10, 1)
    max_validators: int = 64
    minimum_stake_rao: int = 1

    def __post_init__(self) -> None:
        for name in ("kappa", "alpha"):
            _validate_ratio(name, getattr(self, name), 1, "above 0 and at most 1", at_most_one=True)
        for name in ("bonds_penalty", "alpha_low", "alpha_high"):
            _validate_ratio(name, getattr(self, name), 0, "from 0 to 1", at_most_one=True)
        _validate_ratio("alpha_steepness", self.alpha_steepness, 0, "of at least 0", at_most_one=False)
        if self.alpha_low[0] * self.alpha_high[1] > self.alpha_high[0] * self.alpha_low[1]:
            raise ValueError(f"alpha_low is {self.alpha_low}: give a ratio of at most alpha_high, {self.alpha_high}")
        if self.liquid_alpha and self.profile != "yuma3":
            raise ValueError(f'liquid_alpha is true in the profile "{self.profile}": only "yuma3" has it')


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an epoch's consensus reads. Lists are by uid, 0 to N-1; rows are by the validator's uid.

    `last_update` is the height of the commitment of each vote, compared only with `registered_at`. `newly_registered`
    says who came since the last epoch: bonds on it are cleared. `weights` are u16 rows, `bonds` the Q31 rows of the
    previous outcome. Rows of uids without permit are not read.
    """

    stake_rao: list[int]
    active: list[bool]
    permits: list[bool]
    last_update: list[int]
    registered_at: list[int]
    newly_registered: list[bool]
    weights: Mapping[int, Row]
    bonds: Mapping[int, Row]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What consensus says, by uid and in Q31. `permits` are for the next epoch."""

    stake_q31: list[int]
    active_stake_q31: list[int]
    prerank_q31: list[int]
    consensus_q31: list[int]
    rank_q31: list[int]
    trust_q31: list[int]
    validator_trust_q31: list[int]
    incentive_q31: list[int]
    dividends_q31: list[int]
    permits: list[bool]
    bonds: dict[int, Row]

    @property
    def kept_bonds(self) -> dict[int, Row]:
        """The bonds of the next epoch: who has no permit loses them."""
        return {uid: row for uid, row in self.bonds.items() if self.permits[uid]}


class Ballot(NamedTuple):
    """What an epoch's inputs come to before any profile: shares of active stake, normalised votes, bonds that stand."""

    size: int
    stake_q31: list[int]
    active_stake_q31: list[int]
    permits: list[bool]
    validators: list[int]
    targets_M: Int64s
    stake_V: Int64s
    weights_VM: Int64s
    bonds_VM: Int64s


class Verdict(NamedTuple):
    """What a profile makes of a ballot: `rank` in Q62, the rest in Q31; lists by target, dividends by validator."""

    consensus_M: Int64s
    clipped_VM: Int64s
    rank: Sequence[int]
    trust: Sequence[int]
    incentive: Sequence[int]
    dividends: Sequence[int]
    bonds_VM: Int64s


def compute_epoch(inputs: Inputs, rules: Rules) -> Outcome:
    """One epoch of Yuma consensus in the profile of `rules`.

    ValueError if a row is not strictly ascending, or has a uid or value out of range.
    """
    ballot = compute_ballot(inputs, rules)
    consensus_M = compute_consensus(ballot.stake_V, ballot.weights_VM, threshold_q31(rules.kappa))
    clipped_VM = np.minimum(ballot.weights_VM, consensus_M)
    rank = (ballot.stake_V @ clipped_VM).tolist()
    incentive = normalize_q31(rank)
    bonds_VM, dividends = compute_bonds(ballot, clipped_VM, consensus_M, incentive, rules)
    prerank = (ballot.stake_V @ ballot.weights_VM).tolist()
    trust = [(after << Q31_BITS) // before if before else 0 for after, before in zip(rank, prerank, strict=True)]
    return describe_outcome(ballot, Verdict(consensus_M, clipped_VM, rank, trust, incentive, dividends, bonds_VM))


def compute_ballot(inputs: Inputs, rules: Rules) -> Ballot:
    """Who counts with what stake, what they voted, and which of their bonds stand."""
    size = len(inputs.stake_rao)
    stake_rao = [stake if stake >= rules.minimum_stake_rao else 0 for stake in inputs.stake_rao]
    voters = [active and permit for active, permit in zip(inputs.active, inputs.permits, strict=True)]
    active_stake = normalize_q31([stake if voter else 0 for stake, voter in zip(stake_rao, voters, strict=True)])
    validators = sorted(uid for uid in {*inputs.weights, *inputs.bonds} if inputs.permits[uid])
    votes = parse_rows(inputs.weights, validators, size, MAX_WEIGHT)
    bonds = parse_rows(inputs.bonds, validators, size, ONE_Q31)
    targets_M = find_targets(size, votes, bonds)
    weights_VM, bonds_VM = to_matrix(votes, targets_M), to_matrix(bonds, targets_M)
    last_update_V = np.array([inputs.last_update[uid] for uid in validators], dtype=np.int64)
    weights_VM[last_update_V[:, None] <= np.array(inputs.registered_at, dtype=np.int64)[targets_M]] = 0
    weights_VM[np.array(validators, dtype=np.int64)[:, None] == targets_M] = 0
    bonds_VM[:, np.array(inputs.newly_registered, dtype=np.bool_)[targets_M]] = 0
    return Ballot(
        size=size,
        stake_q31=normalize_q31(stake_rao),
        active_stake_q31=active_stake,
        permits=compute_permits(inputs.stake_rao, rules.max_validators, rules.minimum_stake_rao),
        validators=validators,
        targets_M=targets_M,
        stake_V=np.array([active_stake[uid] for uid in validators], dtype=np.int64),
        weights_VM=normalize_rows_q31(weights_VM),
        bonds_VM=bonds_VM,
    )


def compute_permits(stake_rao: Sequence[int], max_validators: int, minimum_stake_rao: int) -> list[bool]:
    """Who may validate next: the `max_validators` largest stakes ≥ `minimum_stake_rao`, ties to the higher uid."""
    ranked = sorted(range(len(stake_rao)), key=lambda uid: (stake_rao[uid], uid), reverse=True)
    chosen = {uid for uid in ranked[:max_validators] if stake_rao[uid] >= minimum_stake_rao}
    return [uid in chosen for uid in range(len(stake_rao))]


def compute_consensus(stake_V: Int64s, weights_VM: Int64s, majority: int) -> Int64s:
    """For each target the largest w such that validators with weight ≥ w hold at least `majority` of stake; else 0.

    `majority` is in the unit of `stake_V`; weights are from 0 to 2^46. Weight and place are sorted as one integer, and
    the stake below each weight, which must leave the majority above it, is a running sum.
    """
    spare = int(stake_V.sum()) - majority
    if spare < 0:
        return np.zeros(weights_VM.shape[1], dtype=np.int64)
    keys_MV = np.left_shift(weights_VM.T, UID_BITS, order="C")
    keys_MV |= np.arange(len(stake_V))
    keys_MV.sort(axis=1)
    below_MV = np.cumsum(stake_V[keys_MV & ((1 << UID_BITS) - 1)], axis=1)
    place_M = np.minimum((below_MV <= spare).sum(axis=1), len(stake_V) - 1)
    agreed_M: Int64s = np.take_along_axis(keys_MV, place_M[:, None], axis=1)[:, 0] >> UID_BITS
    return agreed_M


def compute_bonds(
    ballot: Ballot, clipped_VM: Int64s, consensus_M: Int64s, incentive: Sequence[int], rules: Rules
) -> tuple[Int64s, list[int]]:
    """New bonds (V, M) and dividends (Q31 shares of the validators) in the profile of `rules`."""
    incentive_M = np.array(incentive, dtype=np.int64)
    bonded_VM = interpolate(ballot.weights_VM, clipped_VM, rules.bonds_penalty)
    old_VM = ballot.bonds_VM
    if rules.profile == "classic":
        bonds_VM = compute_classic_bonds(ballot.stake_V, bonded_VM, old_VM, rules.alpha)
        return bonds_VM, compute_classic_dividends(bonds_VM, incentive_M)
    if rules.liquid_alpha and consensus_M.any():
        alpha_VM = compute_liquid_alpha(
            bonded_VM, old_VM, consensus_M, rules.alpha_low, rules.alpha_high, rules.alpha_steepness
        )
        bonds_VM = mix_q31(old_VM, bonded_VM, alpha_VM)
    else:
        bonds_VM = interpolate(old_VM, bonded_VM, rules.alpha)
    return bonds_VM, compute_pair_dividends(ballot.stake_V, bonds_VM, incentive_M)


def describe_outcome(ballot: Ballot, verdict: Verdict) -> Outcome:
    """The outcome by uid of what was computed by validator and by target."""
    prerank = (ballot.stake_V @ ballot.weights_VM) >> Q31_BITS

    def by_target(values: Sequence[int]) -> list[int]:
        return _by_uid(ballot.targets_M.tolist(), values, ballot.size)

    def by_validator(values: Sequence[int]) -> list[int]:
        return _by_uid(ballot.validators, values, ballot.size)

    return Outcome(
        stake_q31=ballot.stake_q31,
        active_stake_q31=ballot.active_stake_q31,
        prerank_q31=by_target(prerank.tolist()),
        consensus_q31=by_target(verdict.consensus_M.tolist()),
        rank_q31=by_target([value >> Q31_BITS for value in verdict.rank]),
        trust_q31=by_target(verdict.trust),
        validator_trust_q31=by_validator(verdict.clipped_VM.sum(axis=1).tolist()),
        incentive_q31=by_target(verdict.incentive),
        dividends_q31=by_validator(verdict.dividends),
        permits=ballot.permits,
        bonds=to_rows(ballot.validators, ballot.targets_M, verdict.bonds_VM),
    )


def _by_uid(uids: Sequence[int], values: Sequence[int], size: int) -> list[int]:
    """The values as a list over all uids, 0 elsewhere."""
    by_uid = [0] * size
    for uid, value in zip(uids, values, strict=True):
        by_uid[uid] = value
    return by_uid


def _validate_ratio(name: str, ratio: Ratio, lowest: int, expected: str, *, at_most_one: bool) -> None:
    numerator, denominator = ratio
    below_one = numerator <= denominator or not at_most_one
    if not (lowest <= numerator < ONE_Q31 and 0 < denominator < ONE_Q31 and below_one):
        raise ValueError(f"{name} is {numerator}/{denominator}: give a ratio {expected}, terms below 2^31")

"""Yuma consensus with classic bonds: from stake, votes and old bonds to incentive, dividends, new bonds and permits.

Invariants:
* Pure, and integers only: the same inputs give the same bits on every machine.
* Whatever stake below κ votes, it cannot lift a neuron above what stake of at least κ agrees on.
* Where any vote carries weight, incentive and dividends each sum to exactly 2^31; each bonds column sums to 2^31 or 0.

Shapes: N uids, V validators (uids with a vote or bonds, ascending). A suffix gives a tensor's axes, as in weights_VN.
Source: the epoch of opentensor/subtensor (stake-weighted median, clipping, bonds by moving average), bonds kept in Q31.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from ledger.epoch.fixed import ONE_Q31, Q31_BITS, Int64s, Ratio, normalize_q31, normalize_rows_q31, threshold_q31

Row = tuple[Sequence[int], Sequence[int]]
"""A sparse row: target uids, strictly ascending, and their values. A target left out has the value 0."""

MAX_WEIGHT = 65535
"""Votes are u16."""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of consensus. Ratios are (numerator, denominator) with 0 < numerator ≤ denominator < 2^31."""

    kappa: Ratio = (32767, 65535)
    alpha: Ratio = (1, 10)
    max_validators: int = 64
    minimum_stake_rao: int = 1

    def __post_init__(self) -> None:
        for name, (numerator, denominator) in (("kappa", self.kappa), ("alpha", self.alpha)):
            if not 0 < numerator <= denominator < ONE_Q31:
                raise ValueError(
                    f"{name} is {numerator}/{denominator}: give a ratio above 0 and at most 1, terms below 2^31"
                )


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an epoch's consensus reads. Lists are by uid, 0 to N-1; rows are by the validator's uid.

    `last_update` is the height of the commitment of each vote, compared only with `registered_at`. `newly_registered`
    says who came since the last epoch. `weights` are u16 rows, `bonds` the Q31 rows of the previous outcome. Rows of
    uids without permit are not read.
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
    """What consensus says, by uid and in Q31. `permits` and `bonds` (permitted rows only) are for the next epoch."""

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


def compute_classic(inputs: Inputs, rules: Rules) -> Outcome:
    """One epoch of Yuma consensus with classic bonds.

    ValueError if a row is not strictly ascending, or has a uid or value out of range.
    """
    size = len(inputs.stake_rao)
    voters = [active and permit for active, permit in zip(inputs.active, inputs.permits, strict=True)]
    active_stake = normalize_q31([stake if voter else 0 for stake, voter in zip(inputs.stake_rao, voters, strict=True)])
    validators = sorted(uid for uid in {*inputs.weights, *inputs.bonds} if inputs.permits[uid])
    stake_V = np.array([active_stake[uid] for uid in validators], dtype=np.int64)

    weights_VN = compute_weights(inputs, validators)
    consensus_N = compute_consensus(stake_V, weights_VN, rules.kappa)
    clipped_VN = np.minimum(weights_VN, consensus_N)
    prerank = (stake_V @ weights_VN).tolist()
    rank = (stake_V @ clipped_VN).tolist()
    incentive = normalize_q31(rank)
    bonds_VN = compute_bonds(stake_V, clipped_VN, _kept_bonds(inputs, validators), rules.alpha)
    dividends = _by_uid(validators, bonds_VN @ np.array(incentive, dtype=np.int64), size)
    permits = compute_permits(inputs.stake_rao, rules.max_validators, rules.minimum_stake_rao)
    return Outcome(
        stake_q31=normalize_q31(inputs.stake_rao),
        active_stake_q31=active_stake,
        prerank_q31=[value >> Q31_BITS for value in prerank],
        consensus_q31=consensus_N.tolist(),
        rank_q31=[value >> Q31_BITS for value in rank],
        trust_q31=[(after << Q31_BITS) // before if before else 0 for after, before in zip(rank, prerank, strict=True)],
        validator_trust_q31=_by_uid(validators, clipped_VN.sum(axis=1), size),
        incentive_q31=incentive,
        dividends_q31=normalize_q31(dividends),
        permits=permits,
        bonds={uid: row for uid, row in _sparse(validators, bonds_VN).items() if permits[uid]},
    )


def compute_permits(stake_rao: Sequence[int], max_validators: int, minimum_stake_rao: int) -> list[bool]:
    """Who may validate next: the `max_validators` largest stakes ≥ `minimum_stake_rao`, ties to the higher uid."""
    ranked = sorted(range(len(stake_rao)), key=lambda uid: (stake_rao[uid], uid), reverse=True)
    chosen = {uid for uid in ranked[:max_validators] if stake_rao[uid] >= minimum_stake_rao}
    return [uid in chosen for uid in range(len(stake_rao))]


def compute_weights(inputs: Inputs, validators: Sequence[int]) -> Int64s:
    """Q31 vote rows, shape (V, N), without votes for oneself and votes not younger than the target's registration."""
    weights_VN = _dense(inputs.weights, validators, len(inputs.stake_rao), MAX_WEIGHT)
    last_update_V = np.array([inputs.last_update[uid] for uid in validators], dtype=np.int64)
    registered_at_N = np.array(inputs.registered_at, dtype=np.int64)
    weights_VN[last_update_V[:, None] <= registered_at_N] = 0
    weights_VN[np.arange(len(validators)), validators] = 0
    return normalize_rows_q31(weights_VN)


def compute_consensus(stake_V: Int64s, weights_VN: Int64s, kappa: Ratio) -> Int64s:
    """For each target the largest w such that validators with weight ≥ w hold `kappa` of active stake; else 0."""
    weights_NV = np.ascontiguousarray(weights_VN.T)
    order_NV = np.argsort(-weights_NV, axis=1, kind="stable")
    agreed_NV = np.cumsum(stake_V[order_NV], axis=1) >= threshold_q31(kappa)
    sorted_NV = np.take_along_axis(weights_NV, order_NV, axis=1)
    agreed_N: Int64s = np.max(sorted_NV, axis=1, where=agreed_NV, initial=0)
    return agreed_N


def compute_bonds(stake_V: Int64s, clipped_VN: Int64s, bonds_VN: Int64s, alpha: Ratio) -> Int64s:
    """New bonds (V, N): B ← (1 - α) B + α ΔB with ΔB = stake · clipped weight, all of them column-normalised."""
    numerator, denominator = alpha
    old_NV = normalize_rows_q31(bonds_VN.T)
    new_NV = normalize_rows_q31((stake_V[:, None] * clipped_VN).T)
    return normalize_rows_q31((denominator - numerator) * old_NV + numerator * new_NV).T


def _kept_bonds(inputs: Inputs, validators: Sequence[int]) -> Int64s:
    """The old bonds (V, N) without those of, and those on, neurons that were registered since."""
    newcomers = np.flatnonzero(inputs.newly_registered)
    bonds_VN = _dense(inputs.bonds, validators, len(inputs.stake_rao), ONE_Q31)
    bonds_VN[:, newcomers] = 0
    bonds_VN[np.isin(validators, newcomers)] = 0
    return bonds_VN


def _dense(rows: Mapping[int, Row], validators: Sequence[int], size: int, largest: int) -> Int64s:
    """The rows of `validators` as a matrix (V, N)."""
    dense_VN = np.zeros((len(validators), size), dtype=np.int64)
    for index, validator in enumerate(validators):
        uids, values = (np.asarray(part, dtype=np.int64) for part in rows.get(validator, ((), ())))
        _validate_row(validator, uids, values, size, largest)
        dense_VN[index, uids] = values
    return dense_VN


def _validate_row(validator: int, uids: Int64s, values: Int64s, size: int, largest: int) -> None:
    """ValueError unless uids ascend strictly within 0..size-1 and each has one value within 0..largest."""
    if len(uids) != len(values):
        raise ValueError(f"row of uid {validator} has {len(uids)} uids but {len(values)} values: give one for each")
    if len(uids) and (uids[0] < 0 or uids[-1] >= size or np.any(np.diff(uids) <= 0)):
        raise ValueError(f"row of uid {validator} must name strictly ascending uids below {size}")
    if len(values) and (values.min() < 0 or values.max() > largest):
        raise ValueError(f"row of uid {validator} must have values from 0 to {largest}")


def _sparse(validators: Sequence[int], values_VN: Int64s) -> dict[int, Row]:
    """The non-zero entries of each row, rows without any left out."""
    rows: dict[int, Row] = {}
    for validator, values_N in zip(validators, values_VN, strict=True):
        uids = np.flatnonzero(values_N)
        if len(uids):
            rows[validator] = (uids.tolist(), values_N[uids].tolist())
    return rows


def _by_uid(validators: Sequence[int], values_V: Int64s, size: int) -> list[int]:
    """Values of validators as a list over all uids, 0 elsewhere."""
    values_N = np.zeros(size, dtype=np.int64)
    values_N[validators] = values_V
    by_uid: list[int] = values_N.tolist()
    return by_uid

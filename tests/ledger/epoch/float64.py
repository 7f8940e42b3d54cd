"""Yuma consensus in float64, slow and obvious: what the ledger's integers are held against.

It takes and gives what the ledger's consensus does, shares as floats. Shapes: N uids, V validators.
"""

from typing import Any, NamedTuple

import numpy as np

from ledger.epoch.consensus import Inputs, Rules, compute_permits
from ledger.epoch.rows import Row


class FloatOutcome(NamedTuple):
    consensus: list[float]
    incentive: list[float]
    dividends: list[float]
    validator_trust: list[float]
    permits: list[bool]
    bonds: dict[int, Row]


def shares_of(values: Any, axis: int | None = None) -> Any:
    """Values divided by their sum along an axis; where that is 0 they stay 0."""
    sums = values.sum(axis=axis, keepdims=axis is not None)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)


def dense(rows: Any, validators: list[int], size: int) -> Any:
    matrix_VN = np.zeros((len(validators), size))
    for index, validator in enumerate(validators):
        uids, values = rows.get(validator, ([], []))
        matrix_VN[index, np.array(uids, dtype=np.int64)] = values
    return matrix_VN


def weighted_median(stake_V: Any, weights_VN: Any, kappa: float) -> Any:
    """Per column the largest weight that stake of at least `kappa` gives or exceeds."""
    order_VN = np.argsort(weights_VN, axis=0)[::-1]
    sorted_VN = np.take_along_axis(weights_VN, order_VN, axis=0)
    agreed_VN = np.cumsum(stake_V[order_VN], axis=0) >= kappa
    return np.where(agreed_VN, sorted_VN, 0).max(axis=0, initial=0)


def moved_bonds(weights_VN: Any, old_VN: Any, consensus_N: Any, rules: Rules) -> Any:
    """Yuma 3: every pair's bond moves towards its vote, at its own rate with liquid alpha."""
    alpha = rules.alpha[0] / rules.alpha[1]
    if rules.liquid_alpha and consensus_N.any():
        low, high, steepness = (a / b for a, b in (rules.alpha_low, rules.alpha_high, rules.alpha_steepness))
        bought_VN = np.clip(weights_VN - consensus_N, 0, 1)
        sold_VN = np.clip(old_VN - weights_VN, 0, 1)
        distance_VN = np.where(weights_VN >= old_VN, bought_VN, sold_VN)
        alpha = low + (high - low) / (1 + np.exp(-steepness * (distance_VN - 0.5)))
    return np.minimum((1 - alpha) * old_VN + alpha * weights_VN, 1)


def compute_float(inputs: Inputs, rules: Rules) -> FloatOutcome:
    size = len(inputs.stake_rao)
    counts_N = np.array(inputs.active) & np.array(inputs.permits)
    stake_N = shares_of(np.where(counts_N, np.array(inputs.stake_rao, dtype=np.float64), 0))
    validators = sorted(uid for uid in {*inputs.weights, *inputs.bonds} if inputs.permits[uid])
    stake_V = stake_N[validators]

    weights_VN = dense(inputs.weights, validators, size)
    outdated_VN = np.array(inputs.last_update)[validators][:, None] <= np.array(inputs.registered_at)
    weights_VN[outdated_VN] = 0
    weights_VN[np.arange(len(validators)), validators] = 0
    weights_VN = shares_of(weights_VN, axis=1)

    consensus_N = weighted_median(stake_V, weights_VN, rules.kappa[0] / rules.kappa[1])
    clipped_VN = np.minimum(weights_VN, consensus_N)
    incentive_N = shares_of(stake_V @ clipped_VN)

    penalty = rules.bonds_penalty[0] / rules.bonds_penalty[1]
    bonded_VN = weights_VN + penalty * (clipped_VN - weights_VN)
    old_VN = dense(inputs.bonds, validators, size) / 2**31
    old_VN[:, np.array(inputs.newly_registered)] = 0
    if rules.profile == "classic":
        alpha = rules.alpha[0] / rules.alpha[1]
        delta_VN = shares_of(stake_V[:, None] * bonded_VN, axis=0)
        bonds_VN = shares_of((1 - alpha) * shares_of(old_VN, axis=0) + alpha * delta_VN, axis=0)
        dividends_V = shares_of(bonds_VN @ incentive_N)
    else:
        bonds_VN = moved_bonds(bonded_VN, old_VN, consensus_N, rules)
        dividends_V = shares_of(stake_V * (shares_of(bonds_VN, axis=0) @ incentive_N))

    dividends_N, trust_N = np.zeros(size), np.zeros(size)
    dividends_N[validators] = dividends_V
    trust_N[validators] = clipped_VN.sum(axis=1)
    return FloatOutcome(
        consensus=consensus_N.tolist(),
        incentive=incentive_N.tolist(),
        dividends=dividends_N.tolist(),
        validator_trust=trust_N.tolist(),
        permits=compute_permits(inputs.stake_rao, rules.max_validators, rules.minimum_stake_rao),
        bonds=sparse(validators, bonds_VN),
    )


def sparse(validators: list[int], bonds_VN: Any) -> dict[int, Row]:
    rows = {}
    for validator, bonds_N in zip(validators, bonds_VN, strict=True):
        uids = np.flatnonzero(bonds_N)
        rows[validator] = (uids.tolist(), bonds_N[uids].tolist())
    return rows


def random_inputs(seed: int, size: int, validators: int, density: float = 1.0) -> Inputs:
    """A random network whose first uids validate: each votes for so many of the others, around a common opinion."""
    rng = np.random.default_rng(seed)
    stake_rao = rng.integers(10**9, 10**15, validators).tolist()
    opinion_N = rng.random(size)
    weights, bonds = {}, {}
    for uid in range(validators):
        named = np.flatnonzero(rng.random(size) < density)
        votes = np.clip(opinion_N[named] * rng.normal(1, 0.3, len(named)), 0, 1) * 65535
        weights[uid] = (named.tolist(), votes.astype(np.int64).tolist())
        bonds[uid] = (named.tolist(), (rng.random(len(named)) * 2**31 / size).astype(np.int64).tolist())
    return Inputs(
        stake_rao=[*stake_rao, *([0] * (size - validators))],
        active=[True] * size,
        permits=[uid < validators for uid in range(size)],
        last_update=[2] * size,
        registered_at=[1] * size,
        newly_registered=[False] * size,
        weights=weights,
        bonds=bonds,
    )

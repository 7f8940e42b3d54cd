"""Golden cases of properties and of the white paper: what majorities are guaranteed, and the rule before the median.

Invariants: graphs are drawn from a fixed seed, so that a case comes out the same each time.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from ledger.epoch.consensus import Inputs, Rules, compute_epoch
from ledger.epoch.emission import split_emission
from ledger.epoch.fixed import ONE_Q31
from ledger.epoch.rows import Row
from ledger.epoch.whitepaper import compute_cabal_shares, compute_whitepaper
from ledger.golden_compare import (
    Check,
    Function,
    Mismatch,
    Tolerances,
    UnsupportedError,
    check_relation,
    find_mismatch,
    ratio,
    read_as,
    slack_of,
    whole,
)

U16 = 65535
SEED = 2023
NODES, VALIDATORS = 512, 64
STAKE_SPREAD = 0.3
TOTAL_RAO = 10**15
PROPERTY = "major_stake <= major_emission_ratio"


class Cabal(Struct):
    """whitepaper_cabal: two camps, τ, ρ, κ."""

    stake_a: Fraction
    stake_b: Fraction
    tau: Fraction
    rho: Fraction
    kappa: Fraction
    blocks: int


class Smooth(Struct):
    """consensus_2023: dense u16 weights and bonds as shares."""

    stake: list[Fraction]
    weights_u16: list[list[int]]
    rho: Fraction
    kappa: Fraction
    active: list[bool] | None = None
    bonds: list[list[Fraction]] | None = None
    bonds_moving_average: int = 900_000


class Guarantee(Struct):
    """consensus_guarantee: (majority's stake, its weight on itself, the minority's on itself, spread) of each graph."""

    tuples: list[tuple[Fraction, Fraction, Fraction, Fraction]]
    seeds: int = 3


class Camps(NamedTuple):
    """A graph of two camps, and who belongs to the majority."""

    inputs: Inputs
    in_major: list[bool]


def check_cabal(data: Any, expected: Any, tolerance: Tolerances) -> Mismatch | None:
    """The second camp's share of stake after the blocks that are named."""
    case = read_as(data, Cabal, "input")
    shares = compute_cabal_shares([case.stake_a, case.stake_b], case.tau, case.rho, case.kappa, case.blocks)
    wanted = read_as(expected, dict[str, dict[str, Fraction]], "expected").get("cabal_share", {})
    got = {block: shares[int(block)] if block.isdigit() and int(block) < len(shares) else None for block in wanted}
    found = (find_mismatch(f"block {block}", wanted[block], got[block], slack_of(tolerance)) for block in wanted)
    return next((mismatch for mismatch in found if mismatch), None)


def check_smooth(data: Any, expected: Any, tolerance: Tolerances) -> Mismatch | None:
    """An epoch by the white paper's rule; vectors in u16."""
    case = read_as(data, Smooth, "input")
    size = len(case.stake)
    stake = whole(case.stake)
    inputs = Inputs(
        stake_rao=stake,
        active=case.active or [True] * size,
        permits=[True] * size,
        last_update=[1] * size,
        registered_at=[0] * size,
        newly_registered=[False] * size,
        weights=_dense_rows(case.weights_u16),
        bonds=_dense_rows([[int(value * ONE_Q31) for value in row] for row in case.bonds or []]),
    )
    rules = Rules(alpha=(1_000_000 - case.bonds_moving_average, 1_000_000), max_validators=size)
    outcome = compute_whitepaper(inputs, rules, ratio(case.rho), ratio(case.kappa))
    wanted = read_as(expected, dict[str, list[Fraction | None]], "expected")
    for name, values in wanted.items():
        # Trust is of those who vote, before consensus: what is left of it after clipping is the live profiles' trust.
        source = f"{name.removesuffix('_u16')}_q31"
        if source not in outcome.__struct_fields__:
            raise UnsupportedError(f"expects {name}, which this runner does not compute")
        got = [value * U16 // ONE_Q31 for value in getattr(outcome, source)]
        found = find_mismatch(name, values, got, slack_of(tolerance))
        if found:
            return found
    return None


def check_guarantee(data: Any, expected: Any, tolerance: Tolerances) -> Mismatch | None:
    """Whether in every graph the property holds of the majority's stake and its part of what is paid."""
    case = read_as(data, Guarantee, "input")
    wanted = read_as(expected, dict[str, str], "expected").get("property", PROPERTY)
    rng = np.random.default_rng(SEED)
    for setting in case.tuples:
        for _ in range(case.seeds):
            earned = compute_major_share(draw_camps(rng, *map(float, setting)), Rules(max_validators=VALIDATORS))
            if not holds(wanted, setting[0], earned, slack_of(tolerance)):
                return Mismatch(f"{wanted} at {[float(value) for value in setting]}", setting[0], earned)
    return None


def holds(wanted: str, stake: Fraction, earned: Fraction, slack: Fraction = Fraction(0)) -> bool:
    """Whether a relation of `major_stake` and `major_emission_ratio` holds."""
    names = {"major_stake": stake, "minor_stake": 1 - stake, "major_emission_ratio": earned}
    return check_relation(wanted, {name: Function(lambda value=value: value, slack) for name, value in names.items()})


def compute_major_share(camps: Camps, rules: Rules) -> Fraction:
    """The majority's part of everything that an epoch pays."""
    emission = split_emission(10**9, compute_epoch(camps.inputs, rules))
    paid = zip(emission.incentive_rao, emission.dividends_rao, camps.in_major, strict=True)
    return Fraction(sum(incentive + dividends for incentive, dividends, major in paid if major), emission.minted_rao)


def draw_camps(rng: np.random.Generator, stake: float, major: float, minor: float, spread: float) -> Camps:
    """A random graph of two camps: 512 nodes, of which the first 64 validate.

    The majority has int(stake · 64) validators and int(stake · 448) servers. Stakes are max(N(1, 0.3), 0), normalised
    per side; weights max(N(1, spread), 0), normalised per quadrant of the two camps and scaled by what each camp gives
    to itself and to the other.
    """
    servers = NODES - VALIDATORS
    major_V = np.arange(VALIDATORS) < int(stake * VALIDATORS)
    major_S = np.arange(servers) < int(stake * servers)
    drawn_V = np.maximum(rng.normal(1, STAKE_SPREAD, VALIDATORS), 0)
    for side_V, share in ((major_V, stake), (~major_V, 1 - stake)):
        drawn_V[side_V] *= share / drawn_V[side_V].sum()
    weights_VS = np.maximum(rng.normal(1, spread, (VALIDATORS, servers)), 0)
    for rows_V, on_major in ((major_V, major), (~major_V, 1 - minor)):
        for columns_S, share in ((major_S, on_major), (~major_S, 1 - on_major)):
            quadrant = np.ix_(rows_V, columns_S)
            weights_VS[quadrant] *= share / np.maximum(weights_VS[quadrant].sum(axis=1, keepdims=True), 1e-300)
    votes_VS = np.floor(U16 * weights_VS).astype(int)
    targets = list(range(VALIDATORS, NODES))
    inputs = Inputs(
        stake_rao=[int(value * TOTAL_RAO) for value in drawn_V] + [0] * servers,
        active=[True] * NODES,
        permits=[uid < VALIDATORS for uid in range(NODES)],
        last_update=[1] * NODES,
        registered_at=[0] * NODES,
        newly_registered=[False] * NODES,
        weights={uid: (targets, votes_VS[uid].tolist()) for uid in range(VALIDATORS)},
        bonds={},
    )
    return Camps(inputs, [*major_V.tolist(), *major_S.tolist()])


def _dense_rows(matrix: list[list[int]]) -> dict[int, Row]:
    return {uid: (list(range(len(row))), row) for uid, row in enumerate(matrix) if any(row)}


STUDY: dict[str, Check] = {
    "consensus_guarantee": check_guarantee,
    "whitepaper_cabal": check_cabal,
    "consensus_2023": check_smooth,
}
"""By kind."""

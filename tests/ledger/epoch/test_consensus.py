"""Consensus to the bit against a slow obvious version, and what it must guarantee whatever the votes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.epoch.bonds import compute_classic_bonds, compute_liquid_alpha
from ledger.epoch.consensus import Inputs, Rules, compute_consensus, compute_epoch, compute_permits
from ledger.epoch.exponential import sigmoid_q31
from ledger.epoch.fixed import ONE_Q31, normalize_q31, normalize_rows_q31, threshold_q31
from ledger.epoch.rows import Row

pytestmark = pytest.mark.thorough

RULES = Rules(max_validators=3)
PROFILES = [
    RULES,
    Rules(max_validators=3, bonds_penalty=(2, 7)),
    Rules(max_validators=3, profile="yuma3", bonds_penalty=(2, 7)),
    Rules(max_validators=3, profile="yuma3", liquid_alpha=True, alpha_low=(1, 20), alpha_high=(6, 7)),
]


def rows_of(matrix: list[list[int]]) -> dict[int, Row]:
    return {uid: (list(range(len(row))), row) for uid, row in enumerate(matrix)}


def matrix_of(rows: dict[int, Row], size: int) -> list[list[int]]:
    matrix = [[0] * size for _ in range(size)]
    for uid, (targets, values) in rows.items():
        for target, value in zip(targets, values, strict=True):
            matrix[uid][target] = value
    return matrix


def transposed(matrix: list[list[int]]) -> list[list[int]]:
    return [list(column) for column in zip(*matrix, strict=True)]


def columns_normalized(matrix: list[list[int]]) -> list[list[int]]:
    return transposed([normalize_q31(column) for column in transposed(matrix)])


def slow_epoch(inputs: Inputs, rules: Rules) -> dict[str, list[int] | list[list[int]]]:
    """The five steps on whole N × N matrices of Python integers."""
    uids = range(len(inputs.stake_rao))
    counts = [inputs.active[i] and inputs.permits[i] for i in uids]
    stake = normalize_q31([inputs.stake_rao[i] if counts[i] else 0 for i in uids])

    votes = matrix_of(dict(inputs.weights), len(uids))
    for i in uids:
        for j in uids:
            if i == j or not inputs.permits[i] or inputs.last_update[i] <= inputs.registered_at[j]:
                votes[i][j] = 0
    weights = [normalize_q31(row) for row in votes]

    def agreed(j: int, weight: int) -> bool:
        holders = sum(stake[i] for i in uids if weights[i][j] >= weight)
        return holders * rules.kappa[1] >= rules.kappa[0] * ONE_Q31

    consensus = [max([weights[i][j] for i in uids if agreed(j, weights[i][j])], default=0) for j in uids]
    clipped = [[min(weights[i][j], consensus[j]) for j in uids] for i in uids]
    incentive = normalize_q31([sum(stake[i] * clipped[i][j] for i in uids) for j in uids])
    ranks = {"consensus_q31": consensus, "incentive_q31": incentive}
    ranks["prerank_q31"] = [sum(stake[i] * weights[i][j] for i in uids) >> 31 for j in uids]

    bonds = matrix_of(dict(inputs.bonds), len(uids))
    for i in uids:
        for j in uids:
            if not inputs.permits[i] or inputs.newly_registered[j]:
                bonds[i][j] = 0
    part, whole = rules.bonds_penalty
    bonded = [
        [((whole - part) * weight + part * low) // whole for weight, low in zip(*rows, strict=True)]
        for rows in zip(weights, clipped, strict=True)
    ]
    if rules.profile == "yuma3":
        bonds = slow_pair_bonds(bonds, bonded, consensus, rules)
        owned = columns_normalized(bonds)
        shares = [stake[i] * sum(owned[i][j] * incentive[j] for j in uids) for i in uids]
        dividends = normalize_q31(shares if any(shares) or not any(incentive) else stake)
        return {**ranks, "dividends_q31": dividends, "bonds": bonds}
    old = columns_normalized(bonds)
    new = columns_normalized([[stake[i] * bonded[i][j] for j in uids] for i in uids])
    numerator, denominator = rules.alpha
    mixed = [[(denominator - numerator) * old[i][j] + numerator * new[i][j] for j in uids] for i in uids]
    bonds = columns_normalized(mixed)
    dividends = normalize_q31([sum(bonds[i][j] * incentive[j] for j in uids) for i in uids])
    return {**ranks, "dividends_q31": dividends, "bonds": bonds}


def slow_pair_bonds(
    old: list[list[int]], bonded: list[list[int]], consensus: list[int], rules: Rules
) -> list[list[int]]:
    """Each bond on its own, at the rate of its pair."""
    low, high = (ratio[0] * ONE_Q31 // ratio[1] for ratio in (rules.alpha_low, rules.alpha_high))
    numerator, denominator = rules.alpha

    def moved(bond: int, vote: int, agreed: int) -> int:
        if not (rules.liquid_alpha and any(consensus)):
            return ((denominator - numerator) * bond + numerator * vote) // denominator
        distance = max(0, vote - agreed) if vote >= bond else bond - vote
        argument = rules.alpha_steepness[0] * (distance - ONE_Q31 // 2) // rules.alpha_steepness[1]
        rate = low + ((high - low) * int(sigmoid_q31(np.array([argument]))[0]) >> 31)
        return ((ONE_Q31 - rate) * bond + rate * vote) >> 31

    pairs = zip(old, bonded, strict=True)
    return [[moved(*entry) for entry in zip(bonds, votes, consensus, strict=True)] for bonds, votes in pairs]


@st.composite
def epochs(draw: st.DrawFn) -> Inputs:
    size = draw(st.integers(1, 7))

    def by_uid(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=size, max_size=size))

    def flags(often: bool) -> list[bool]:
        return [value != 0 if often else value == 0 for value in by_uid(st.integers(0, 5))]

    def matrix(largest: int) -> list[list[int]]:
        return [by_uid(st.sampled_from([0, 1, largest // 3, largest]) | st.integers(0, largest)) for _ in range(size)]

    return Inputs(
        stake_rao=by_uid(st.integers(0, 4) | st.integers(0, 10**16)),
        active=flags(often=True),
        permits=flags(often=True),
        last_update=by_uid(st.integers(1, 9)),
        registered_at=by_uid(st.integers(0, 2)),
        newly_registered=flags(often=False),
        weights=rows_of(matrix(65535)),
        bonds=rows_of(matrix(ONE_Q31)),
    )


def random_epoch(seed: int, size: int, validators: int) -> Inputs:
    rng = np.random.default_rng(seed)
    stake = rng.integers(1, 10**15, size)
    return Inputs(
        stake_rao=[int(value) if uid < validators else 0 for uid, value in enumerate(stake)],
        active=[True] * size,
        permits=[uid < validators for uid in range(size)],
        last_update=[2] * size,
        registered_at=[1] * size,
        newly_registered=[False] * size,
        weights={uid: (list(range(size)), rng.integers(0, 65536, size).tolist()) for uid in range(validators)},
        bonds={uid: (list(range(size)), rng.integers(0, 2**20, size).tolist()) for uid in range(validators)},
    )


@settings(max_examples=60)
@given(epochs())
@pytest.mark.parametrize("rules", PROFILES, ids=["classic", "classic-penalty", "yuma3", "liquid"])
def test_it_is_the_slow_version_to_the_bit(rules: Rules, inputs: Inputs) -> None:
    outcome, slow = compute_epoch(inputs, rules), slow_epoch(inputs, rules)
    assert outcome.consensus_q31 == slow["consensus_q31"]
    assert outcome.incentive_q31 == slow["incentive_q31"]
    assert outcome.dividends_q31 == slow["dividends_q31"]
    assert outcome.prerank_q31 == slow["prerank_q31"]
    kept = [row if permit else [0] * len(row) for row, permit in zip(slow["bonds"], outcome.permits, strict=True)]
    assert matrix_of(outcome.kept_bonds, len(kept)) == kept


@settings(max_examples=25)
@given(epochs())
@pytest.mark.parametrize("rules", PROFILES, ids=["classic", "classic-penalty", "yuma3", "liquid"])
def test_incentive_and_dividends_are_whole_shares_together_or_not_at_all(rules: Rules, inputs: Inputs) -> None:
    outcome = compute_epoch(inputs, rules)
    assert sum(outcome.incentive_q31) in (0, ONE_Q31)
    assert sum(outcome.dividends_q31) == sum(outcome.incentive_q31)


def test_fixed_point_stays_within_a_millionth_of_floating_point() -> None:
    inputs = random_epoch(seed=7, size=60, validators=12)
    stake_V = np.array(inputs.stake_rao[:12], dtype=np.float64)
    stake_V /= stake_V.sum()
    weights_VN = np.array(matrix_of(dict(inputs.weights), 60)[:12], dtype=np.float64)
    np.fill_diagonal(weights_VN, 0)
    weights_VN /= weights_VN.sum(axis=1, keepdims=True)
    held_VVN = weights_VN[:, None, :] >= weights_VN[None, :, :]
    agreed_VN = np.einsum("h,hvn->vn", stake_V, held_VVN) >= 32767 / 65535
    clipped_VN = np.minimum(weights_VN, np.where(agreed_VN, weights_VN, 0).max(axis=0))
    incentive_N = stake_V @ clipped_VN / (stake_V @ clipped_VN).sum()
    bonds_VN = np.array(matrix_of(dict(inputs.bonds), 60)[:12], dtype=np.float64)
    delta_VN = stake_V[:, None] * clipped_VN
    mixed_VN = 0.9 * bonds_VN / bonds_VN.sum(axis=0) + 0.1 * delta_VN / delta_VN.sum(axis=0)
    outcome = compute_epoch(inputs, Rules())
    np.testing.assert_allclose(np.array(outcome.incentive_q31) / ONE_Q31, incentive_N, atol=1e-6)
    np.testing.assert_allclose(np.array(outcome.dividends_q31[:12]) / ONE_Q31, mixed_VN @ incentive_N, atol=1e-6)


def permuted(inputs: Inputs, order: list[int]) -> Inputs:
    """The same epoch with the neuron at uid order[k] moved to uid k."""
    place = {old: new for new, old in enumerate(order)}

    def moved(rows: dict[int, Row]) -> dict[int, Row]:
        pairs = {place[uid]: sorted((place[t], v) for t, v in zip(*row, strict=True)) for uid, row in rows.items()}
        return {uid: ([t for t, _ in row], [v for _, v in row]) for uid, row in pairs.items()}

    def reordered(values: list[int]) -> list[int]:
        return [values[old] for old in order]

    return Inputs(
        stake_rao=reordered(inputs.stake_rao),
        active=reordered(inputs.active),
        permits=reordered(inputs.permits),
        last_update=reordered(inputs.last_update),
        registered_at=reordered(inputs.registered_at),
        newly_registered=reordered(inputs.newly_registered),
        weights=moved(dict(inputs.weights)),
        bonds=moved(dict(inputs.bonds)),
    )


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.permutations(range(12)))
def test_uids_do_not_matter_beyond_ties(seed: int, order: list[int]) -> None:
    inputs = random_epoch(seed, size=12, validators=5)
    here, there = compute_epoch(inputs, Rules()), compute_epoch(permuted(inputs, order), Rules())
    for name in ("consensus_q31", "incentive_q31", "dividends_q31", "validator_trust_q31"):
        before, after = getattr(here, name), getattr(there, name)
        # A tie of remainders may move single units of weights and bonds, and with them a few units of their sums.
        assert all(abs(before[old] - after[new]) <= 64 for new, old in enumerate(order)), name


@pytest.mark.parametrize(("validators", "targets"), [(1, 3), (3, 1), (1, 1)])
def test_nothing_that_is_given_is_changed(validators: int, targets: int) -> None:
    """Also where a matrix is a single row or column, of which a transposed form shares the memory."""
    weights_VM = normalize_rows_q31(np.arange(1, 1 + validators * targets).reshape(validators, targets))
    stake_V = np.full(validators, ONE_Q31 // validators)
    before = weights_VM.copy()
    compute_consensus(stake_V, weights_VM, threshold_q31((1, 2)))
    compute_classic_bonds(stake_V, weights_VM, weights_VM, (1, 10))
    compute_liquid_alpha(weights_VM, weights_VM, weights_VM[0], (1, 10), (2, 10), (10, 1))
    assert (weights_VM == before).all()


def test_a_minority_cannot_lift_its_own() -> None:
    votes: dict[int, Row] = {0: ([2], [65535]), 1: ([3], [65535])}
    cabal = replace(random_epoch(seed=3, size=4, validators=2), stake_rao=[51, 49, 0, 0], weights=votes, bonds={})
    outcome = compute_epoch(cabal, Rules())
    assert outcome.incentive_q31 == [0, 0, ONE_Q31, 0]
    assert outcome.dividends_q31 == [ONE_Q31, 0, 0, 0]


@settings(max_examples=30)
@given(epochs())
def test_an_empty_row_is_a_row_of_zeros_is_no_row(inputs: Inputs) -> None:
    size = len(inputs.stake_rao)
    no_row = compute_epoch(replace(inputs, weights={}), RULES)
    assert compute_epoch(replace(inputs, weights={0: ([], [])}), RULES) == no_row
    assert compute_epoch(replace(inputs, weights={0: (list(range(size)), [0] * size)}), RULES) == no_row


def test_bonds_on_a_newcomer_are_cleared() -> None:
    newcomers = [False, True, False, False, True, False]
    inputs = replace(random_epoch(seed=5, size=6, validators=3), newly_registered=newcomers, weights={})
    outcome = compute_epoch(inputs, Rules())
    assert set(outcome.bonds) == {0, 1, 2}
    assert all(4 not in targets and 1 not in targets for targets, _ in outcome.bonds.values())


def test_a_validator_that_loses_its_permit_loses_its_bonds() -> None:
    inputs = random_epoch(seed=5, size=6, validators=3)
    outcome = compute_epoch(inputs, Rules(max_validators=2))
    assert sum(outcome.permits) == 2
    assert set(outcome.kept_bonds) == {uid for uid, permit in enumerate(outcome.permits) if permit}


def test_permits_break_ties_to_the_higher_uid_and_need_stake() -> None:
    assert compute_permits([5, 5, 5], 2, minimum_stake_rao=1) == [False, True, True]
    assert compute_permits([0, 7, 0], 3, minimum_stake_rao=1) == [False, True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (([2, 1], [1, 1]), "ascending"),
        (([1, 1], [1, 1]), "ascending"),
        (([1, 9], [1, 1]), "below 4"),
        (([-1], [1]), "ascending"),
        (([1], [65536]), "from 0 to 65535"),
        (([1], [-1]), "from 0 to 65535"),
        (([1, 2], [1]), "2 uids but 1 values"),
    ],
)
def test_a_malformed_row_is_refused(row: Row, message: str) -> None:
    inputs = replace(random_epoch(seed=1, size=4, validators=2), weights={0: row})
    with pytest.raises(ValueError, match=message):
        compute_epoch(inputs, Rules())


@pytest.mark.parametrize("ratio", [(0, 1), (2, 1), (1, 2**31), (-1, -1)])
def test_ratios_out_of_bounds_are_refused(ratio: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="kappa"):
        Rules(kappa=ratio)

"""All profiles against the float64 version, and what sets them apart."""

from types import ModuleType

import numpy as np
import pytest
from msgspec.structs import replace

from ledger.epoch.consensus import Inputs, Rules, compute_epoch
from ledger.epoch.fixed import ONE_Q31
from ledger.epoch.whitepaper import compute_whitepaper

pytestmark = pytest.mark.thorough

PROFILES = [
    pytest.param(Rules(max_validators=256), id="classic"),
    pytest.param(Rules(max_validators=256, bonds_penalty=(1, 3)), id="classic-half-penalty"),
    pytest.param(Rules(max_validators=256, profile="yuma3"), id="yuma3"),
    pytest.param(Rules(max_validators=256, profile="yuma3", bonds_penalty=(0, 1), liquid_alpha=True), id="liquid"),
]


def shares(values: list[int]) -> np.ndarray:
    return np.array(values) / ONE_Q31


def assert_agree(inputs: Inputs, rules: Rules, float64: ModuleType) -> None:
    outcome, floats = compute_epoch(inputs, rules), float64.compute_float(inputs, rules)
    np.testing.assert_allclose(shares(outcome.consensus_q31), floats.consensus, rtol=1e-4, atol=2**-30)
    np.testing.assert_allclose(shares(outcome.incentive_q31), floats.incentive, rtol=1e-4, atol=2**-30)
    np.testing.assert_allclose(shares(outcome.validator_trust_q31), floats.validator_trust, rtol=1e-4)
    np.testing.assert_allclose(shares(outcome.dividends_q31), floats.dividends, rtol=1e-4)


@pytest.mark.parametrize("rules", PROFILES)
@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_float64_on_random_networks(rules: Rules, seed: int, float64: ModuleType) -> None:
    for density in (1.0, 0.2):
        assert_agree(float64.random_inputs(seed, size=300, validators=40, density=density), rules, float64)


@pytest.mark.parametrize("rules", PROFILES[::2])
def test_it_agrees_with_float64_at_full_size(rules: Rules, float64: ModuleType) -> None:
    assert_agree(float64.random_inputs(11, size=4096, validators=256), rules, float64)


def test_it_stays_close_to_float64_over_many_epochs(float64: ModuleType) -> None:
    rules = Rules(profile="yuma3", liquid_alpha=True, bonds_penalty=(1, 2))
    ours = floats = replace(float64.random_inputs(5, size=60, validators=12), bonds={})
    for seed in range(20):
        votes = float64.random_inputs(seed, size=60, validators=12).weights
        outcome = compute_epoch(replace(ours, weights=votes), rules)
        expected = float64.compute_float(replace(floats, weights=votes), rules)
        np.testing.assert_allclose(shares(outcome.dividends_q31), expected.dividends, rtol=1e-4)
        ours = replace(ours, bonds=outcome.kept_bonds)
        rows = {uid: (uids, [value * 2**31 for value in values]) for uid, (uids, values) in expected.bonds.items()}
        floats = replace(floats, bonds=rows)


def test_a_pair_bond_moves_towards_its_vote_and_never_past_it(float64: ModuleType) -> None:
    inputs = float64.random_inputs(3, size=40, validators=8)
    rules = Rules(profile="yuma3", bonds_penalty=(0, 1), liquid_alpha=True, alpha_low=(1, 1), alpha_high=(1, 1))
    outcome = compute_epoch(inputs, rules)
    for uids, values in outcome.bonds.values():
        # At the rate 1 the bond is the vote, whose row sums to 2^31.
        assert sum(values) == ONE_Q31
        assert len(uids) <= 40


def test_early_bonds_earn_more_where_the_majority_follows(float64: ModuleType) -> None:
    """Who votes for a neuron before the others do gains on equal stake, and buys faster with liquid alpha."""
    base = Inputs(
        stake_rao=[40, 30, 30, 0, 0],
        active=[True] * 5,
        permits=[True, True, True, False, False],
        last_update=[2] * 5,
        registered_at=[1] * 5,
        newly_registered=[False] * 5,
        weights={},
        bonds={},
    )
    old, new = ([3], [65535]), ([4], [65535])
    for liquid in (False, True):
        rules = Rules(profile="yuma3", bonds_penalty=(0, 1), liquid_alpha=liquid)
        first = compute_epoch(replace(base, weights={0: old, 1: new, 2: old}), rules)
        second = compute_epoch(replace(base, weights={0: new, 1: new, 2: new}, bonds=first.kept_bonds), rules)
        assert second.dividends_q31[1] > second.dividends_q31[2]
        (_, [early]), (_, [late]) = first.bonds[1], first.bonds[0]
        assert early > late if liquid else early == late


def test_dividends_follow_stake_where_no_bond_stands_behind_incentive() -> None:
    inputs = Inputs(
        stake_rao=[3, 1, 0],
        active=[True] * 3,
        permits=[True, True, False],
        last_update=[2] * 3,
        registered_at=[1] * 3,
        newly_registered=[False] * 3,
        weights={0: ([2], [1]), 1: ([2], [1])},
        bonds={},
    )
    outcome = compute_epoch(inputs, Rules(profile="yuma3", alpha=(1, 2**31 - 1), kappa=(1, 1)))
    assert sum(outcome.dividends_q31) == ONE_Q31
    idle = Rules(profile="yuma3", liquid_alpha=True, alpha_low=(0, 1), alpha_high=(0, 1))
    assert compute_epoch(inputs, idle).dividends_q31 == [3 * ONE_Q31 // 4, ONE_Q31 // 4, 0]


def test_the_white_paper_rule_is_smooth_where_the_median_is_sharp() -> None:
    inputs = Inputs(
        stake_rao=[51, 49, 0, 0],
        active=[True] * 4,
        permits=[True, True, False, False],
        last_update=[2] * 4,
        registered_at=[1] * 4,
        newly_registered=[False] * 4,
        weights={0: ([2], [1]), 1: ([3], [1])},
        bonds={},
    )
    assert compute_epoch(inputs, Rules()).incentive_q31[3] == 0
    paper = compute_whitepaper(inputs, Rules())
    assert 0.46 < paper.incentive_q31[3] / ONE_Q31 < 0.47
    assert paper.trust_q31[2] / ONE_Q31 == pytest.approx(0.51)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"bonds_penalty": (3, 2)}, "bonds_penalty"),
        ({"alpha_low": (1, 1)}, "alpha_low"),
        ({"alpha_steepness": (1, 0)}, "alpha_steepness"),
        ({"liquid_alpha": True}, "liquid_alpha"),
    ],
)
def test_rules_out_of_bounds_are_refused(fields: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Rules(**fields)

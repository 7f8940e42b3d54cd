"""What a majority is guaranteed and a cabal can take, on the ledger's own consensus and emission."""

from fractions import Fraction

import numpy as np
import pytest

from ledger.epoch.consensus import Inputs, Rules, compute_epoch
from ledger.epoch.emission import Emission, split_emission
from ledger.epoch.whitepaper import compute_cabal_shares
from ledger.golden_study import compute_major_share, draw_camps

pytestmark = pytest.mark.thorough

PROFILES = [Rules(), Rules(profile="yuma3"), Rules(profile="yuma3", liquid_alpha=True, bonds_penalty=(1, 1))]
SETTINGS = [(0.51, 0.51, 1.0, 0.001), (0.6, 0.76, 1.0, 0.4), (0.7, 0.83, 0.85, 1.0)]
"""Of the reference's 14 settings one for each kind of spread; `benchmarks/collusion.py` runs them all."""


def pay_camps(stakes: tuple[int, int], rules: Rules) -> Emission:
    """Two validators that vote for a server of their own: uids 0 and 2 are one camp, 1 and 3 the other."""
    inputs = Inputs(
        stake_rao=[*stakes, 0, 0],
        active=[True] * 4,
        permits=[True, True, False, False],
        last_update=[2] * 4,
        registered_at=[1] * 4,
        newly_registered=[False] * 4,
        weights={0: ([2], [65535]), 1: ([3], [65535])},
        bonds={},
    )
    return split_emission(1000, compute_epoch(inputs, rules))


@pytest.mark.parametrize("rules", PROFILES, ids=["classic", "yuma3", "liquid"])
def test_a_cabal_of_49_percent_earns_nothing_and_one_of_51_everything(rules: Rules) -> None:
    minority, majority = pay_camps((51, 49), rules), pay_camps((49, 51), rules)
    assert (minority.incentive_rao, minority.dividends_rao) == ([0, 0, 500, 0], [500, 0, 0, 0])
    assert (majority.incentive_rao, majority.dividends_rao) == ([0, 0, 0, 500], [0, 500, 0, 0])


@pytest.mark.parametrize("rules", PROFILES, ids=["classic", "yuma3", "liquid"])
def test_an_even_tie_leaves_both_whole(rules: Rules) -> None:
    for stake in (1, 50, 10**16):
        tied = pay_camps((stake, stake), rules)
        assert (tied.incentive_rao, tied.dividends_rao) == ([0, 0, 250, 250], [250, 250, 0, 0])


@pytest.mark.parametrize("rules", PROFILES, ids=["classic", "yuma3", "liquid"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_majority_is_paid_at_least_its_share_of_stake(
    setting: tuple[float, float, float, float], rules: Rules
) -> None:
    share = compute_major_share(draw_camps(np.random.default_rng(7), *setting), rules)
    assert share >= Fraction(str(setting[0]))


def test_the_cabal_of_the_paper_falls_as_printed() -> None:
    """Section 10 of the white paper: 51 % against 49 %, τ = 0.1, ρ = 10."""
    stakes = [Fraction(51, 100), Fraction(49, 100)]
    shares = compute_cabal_shares(stakes, tau=Fraction(1, 10), rho=Fraction(10), kappa=Fraction(1, 2), blocks=100)
    printed = [0.4877323388820201, 0.4849535784321247, 0.4815511535094221, 0.477389901500398, 0.4723093486843246]
    np.testing.assert_allclose([float(share) for share in shares[:5]], printed, rtol=0, atol=1e-12)
    assert float(shares[99]) == pytest.approx(0.00012063371993464691, abs=1e-12)
    assert shares == sorted(shares, reverse=True)

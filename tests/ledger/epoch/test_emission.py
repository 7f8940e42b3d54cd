"""What is paid is what is minted, and issuance never passes the cap."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.epoch.consensus import Inputs, Rules, compute_epoch
from ledger.epoch.emission import (
    CAP_RAO,
    FIRST_BLOCK_EMISSION_RAO,
    block_emission_rao,
    epoch_emission_rao,
    split_emission,
)


def outcome_inputs(stake_rao: list[int], active: bool = True, vote: bool = True) -> Inputs:
    """The first neuron votes for the last one, if at all."""
    size = len(stake_rao)
    return Inputs(
        stake_rao=stake_rao,
        active=[active] * size,
        permits=[True] * size,
        last_update=[1] * size,
        registered_at=[0] * size,
        newly_registered=[False] * size,
        weights={0: ([size - 1], [65535])} if vote else {},
        bonds={},
    )


@given(st.integers(0, CAP_RAO), st.integers(0, CAP_RAO))
def test_more_issuance_never_means_more_emission(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert FIRST_BLOCK_EMISSION_RAO >= block_emission_rao(low) >= block_emission_rao(high) >= 0


@given(st.one_of(st.integers(0, CAP_RAO), st.integers(0, 10**9).map(lambda left: CAP_RAO - left)))
def test_an_epoch_never_mints_past_the_cap(issuance: int) -> None:
    assert issuance + epoch_emission_rao(issuance, 360) <= CAP_RAO


def test_the_first_halving_comes_at_half_of_the_cap() -> None:
    assert epoch_emission_rao(0, 360) == 360 * 10**9
    assert block_emission_rao(CAP_RAO // 2 - 10**9) == 10**9
    assert block_emission_rao(CAP_RAO // 2) == 5 * 10**8
    assert block_emission_rao(CAP_RAO) == block_emission_rao(CAP_RAO + 1) == 0


@given(st.integers(0, 360 * 10**9), st.lists(st.integers(1, 10**15), min_size=2, max_size=9))
def test_what_is_paid_is_what_is_minted(total: int, stake: list[int]) -> None:
    emission = split_emission(total, compute_epoch(outcome_inputs(stake), Rules()))
    assert emission.minted_rao == total
    if stake[0] > sum(stake) // 2:
        assert emission.incentive_rao[-1] == total - total // 2
        assert emission.dividends_rao[0] == total // 2


def test_without_votes_active_stake_is_paid_as_dividends() -> None:
    emission = split_emission(100, compute_epoch(outcome_inputs([60, 20, 20], vote=False), Rules()))
    assert emission.dividends_rao == [60, 20, 20]
    assert emission.incentive_rao == [0, 0, 0]


def test_without_active_stake_all_stake_is_paid() -> None:
    emission = split_emission(10, compute_epoch(outcome_inputs([3, 1], active=False), Rules()))
    assert emission.dividends_rao == [8, 2]


def test_without_any_stake_nothing_is_minted() -> None:
    assert split_emission(10, compute_epoch(outcome_inputs([0, 0]), Rules())).minted_rao == 0

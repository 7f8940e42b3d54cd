"""Shares are exact: nothing is lost, order matters to ties only, and the matrix version equals the obvious one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.epoch.fixed import ONE_Q31, normalize_q31, normalize_rows_q31, split_largest_remainder, threshold_q31

amounts = st.one_of(st.integers(0, 100), st.integers(0, 2**80))


@given(st.integers(0, 21 * 10**15), st.lists(amounts, max_size=20))
def test_a_split_pays_out_everything_or_nothing(total: int, weights: list[int]) -> None:
    assert sum(split_largest_remainder(total, weights)) == (total if any(weights) else 0)


@given(st.integers(0, 21 * 10**15), st.lists(amounts, min_size=1, max_size=20).filter(any))
def test_a_part_is_within_one_unit_of_its_due(total: int, weights: list[int]) -> None:
    for part, weight in zip(split_largest_remainder(total, weights), weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1


@given(st.integers(0, 10**6), st.lists(st.integers(0, 100), min_size=1, max_size=9).filter(any), st.data())
def test_order_matters_to_tied_remainders_only(total: int, weights: list[int], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(weights))))
    here = split_largest_remainder(total, weights)
    there = split_largest_remainder(total, [weights[index] for index in order])
    remainders = [total * weight % sum(weights) for weight in weights]
    for place, index in enumerate(order):
        room = 1 if remainders.count(remainders[index]) > 1 else 0
        assert abs(here[index] - there[place]) <= room


def test_ties_go_to_the_lower_index() -> None:
    assert split_largest_remainder(5, [1, 1, 1]) == [2, 2, 1]
    assert split_largest_remainder(2, [1, 2, 1]) == [1, 1, 0]


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        split_largest_remainder(1, [1, -1])
    with pytest.raises(ValueError, match="0 or more"):
        split_largest_remainder(-1, [1])


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1), st.integers(0, ONE_Q31))
def test_the_threshold_is_cross_multiplication(numerator: int, denominator: int, share: int) -> None:
    assert (share >= threshold_q31((numerator, denominator))) == (share * denominator >= numerator * ONE_Q31)


@st.composite
def matrices(draw: st.DrawFn) -> list[list[int]]:
    width = draw(st.integers(1, 9))
    largest = draw(st.sampled_from([1, 5, 65535, ONE_Q31, 2**62 // width]))
    row = st.lists(st.integers(0, largest), min_size=width, max_size=width)
    return draw(st.lists(row, min_size=1, max_size=6))


@given(matrices())
def test_matrix_rows_are_normalised_as_vectors_are(matrix: list[list[int]]) -> None:
    assert normalize_rows_q31(np.array(matrix, dtype=np.int64)).tolist() == [normalize_q31(row) for row in matrix]


@pytest.mark.parametrize(
    "row", [[2**62], [2**61, 2**61], [2**62 - 1, 1], [2**61 + 2**31 - 1, 0, 3], [2**61 - 1], [1], [0, 0]]
)
def test_matrix_rows_at_the_edges_of_62_bits(row: list[int]) -> None:
    assert normalize_rows_q31(np.array([row], dtype=np.int64)).tolist() == [normalize_q31(row)]


def test_matrices_without_rows_or_columns() -> None:
    assert normalize_rows_q31(np.zeros((0, 5), dtype=np.int64)).shape == (0, 5)
    assert normalize_rows_q31(np.zeros((5, 0), dtype=np.int64)).shape == (5, 0)

"""The integer exponential and logistic function against the real ones."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.epoch.exponential import exp_minus, sigmoid, sigmoid_q31
from ledger.epoch.fixed import ONE_Q31


@given(st.lists(st.integers(-(40 << 31), 40 << 31), min_size=1, max_size=50))
def test_sigmoid_is_within_four_units_and_symmetric(arguments: list[int]) -> None:
    shares = sigmoid_q31(np.array(arguments, dtype=np.int64))
    exact = [ONE_Q31 / (1 + math.exp(-argument / ONE_Q31)) for argument in arguments]
    np.testing.assert_allclose(shares, exact, rtol=0, atol=4)
    mirrored = sigmoid_q31(-np.array(arguments, dtype=np.int64))
    assert (shares + mirrored == ONE_Q31).all()


def test_sigmoid_at_the_edges_of_64_bits() -> None:
    edges = np.array([-(2**63), -(2**62), 0, 2**62, 2**63 - 1], dtype=np.int64)
    assert sigmoid_q31(edges).tolist() == [0, 0, ONE_Q31 // 2, ONE_Q31, ONE_Q31]


@given(st.fractions(0, 60), st.sampled_from([31, 64, 128]))
def test_exp_minus_is_the_exponential(argument: Fraction, bits: int) -> None:
    value = Fraction(exp_minus(argument.numerator, argument.denominator, bits), 2**bits)
    assert float(value) == math.exp(-argument) or abs(float(value) - math.exp(-argument)) <= max(2**-bits, 2**-51)


def test_exp_minus_to_a_hundred_bits() -> None:
    # The first 36 digits of 1/e.
    digits = 367879441171442321595523770161460867
    assert abs(exp_minus(1, 1, 100) - digits * 2**100 // 10**36) <= 1
    assert exp_minus(0, 1, 64) == 1 << 64
    assert sigmoid(0, 1, 64) == 1 << 63

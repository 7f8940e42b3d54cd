from dataclasses import replace
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.value.bits import logarithmic_mean, path_bits
from models.value.events import per_byte

positive = st.floats(1e-12, 1.0)


def mean_of(a, b):
    return float(logarithmic_mean(torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64))[0])


def sums(round_, bits_M):
    return np.bincount(round_.events.block_M, bits_M, round_.events.blocks)[None]


def integral_along_the_path(weights_K, start_M, rows_KM, nodes=100):
    """∫ w_j (p_j − q)/(q + s(p − q)) ds / ln 2 by Gauss-Legendre quadrature: obvious, and slow."""
    moved_KM = weights_K[:, None] * (rows_KM - start_M)
    points_P, parts_P = np.polynomial.legendre.leggauss(nodes)
    heights_PM = 1 / (start_M + (points_P[:, None] + 1) / 2 * moved_KM.sum(axis=0))
    return moved_KM * (parts_P @ heights_PM / 2) / np.log(2)


@settings(max_examples=50, deadline=None)
@given(a=positive, b=positive)
def test_logarithmic_mean_lies_between_and_is_symmetric(a, b):
    mean = mean_of(a, b)
    assert min(a, b) * (1 - 1e-12) <= mean <= max(a, b) * (1 + 1e-12)
    assert np.sqrt(a * b) * (1 - 1e-9) <= mean <= (a + b) / 2 * (1 + 1e-9)
    assert mean == pytest.approx(mean_of(b, a), rel=1e-14)


@pytest.mark.parametrize("apart", [0.0, 1e-16, 1e-12, 1e-8, 1e-4, 1.9e-3, 2.1e-3, 0.5, 40.0])
def test_logarithmic_mean_is_exact_near_and_far(apart):
    getcontext().prec = 60
    a = 0.3
    b = a * (1 + apart)
    exact = Decimal(a) if b == a else (Decimal(b) - Decimal(a)) / (Decimal(b).ln() - Decimal(a).ln())
    assert mean_of(a, b) == pytest.approx(float(exact), rel=2e-15)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 6))
def test_parts_sum_to_the_whole(seed, rows):
    rng = np.random.default_rng(seed)
    weights_K = rng.dirichlet(np.ones(rows + 1))[1:]
    gain_M, part_KM = path_bits(weights_K, rng.normal(-5, 4, 50), rng.normal(-5, 4, (rows, 50)))
    np.testing.assert_allclose(part_KM.sum(axis=0), gain_M, atol=1e-9)


def test_parts_agree_with_the_integral_along_the_path():
    rng = np.random.default_rng(2)
    start_M, rows_KM = rng.uniform(0.02, 0.9, 200), rng.uniform(0.02, 0.9, (4, 200))
    weights_K = np.array([0.1, 0.3, 0.0, 0.4])
    _, part_KM = path_bits(weights_K, np.log(start_M), np.log(rows_KM))
    np.testing.assert_allclose(part_KM, integral_along_the_path(weights_K, start_M, rows_KM), atol=1e-10)


def test_a_mean_is_a_sum_over_events_by_their_bytes(rounds):
    round_ = rounds(["first"], ["second"])
    bits_M = np.random.default_rng(0).normal(size=round_.fold_M.size)
    mean, _ = per_byte(round_.events, sums(round_, bits_M))
    assert mean[0] == pytest.approx(bits_M.sum() / round_.bytes_M.sum())


def test_errors_are_by_document(rounds):
    round_ = rounds(["first"], ["second"])
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(300):
        by_document_D = rng.normal(0.2, 1.0, round_.events.blocks)
        bits_M = by_document_D[round_.events.block_M] + rng.normal(0, 0.1, round_.fold_M.size)
        mean, error = per_byte(round_.events, sums(round_, bits_M))
        means.append(mean[0])
        errors.append(error[0])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(errors) > 5 / np.sqrt(round_.fold_M.size)


def test_a_difference_between_strata_is_no_error(rounds):
    round_ = rounds(["first"], ["second"])
    mean, error = per_byte(round_.events, sums(round_, np.array([0.1, 0.5, 2.0])[round_.stratum_M]))
    assert mean[0] > 0.1
    assert error[0] == pytest.approx(0, abs=1e-12)


def test_the_only_document_of_a_stratum_is_compared_with_all(rounds):
    round_ = rounds(["first"], ["second"])
    alone = round_.document_M == round_.document_M[0]
    moved = replace(round_, stratum_M=np.where(alone, 3, round_.stratum_M), strata=(*round_.strata, "alone"))
    _, error = per_byte(moved.events, sums(moved, alone.astype(float)))
    share = alone.mean()
    assert error[0] == pytest.approx(share * (1 - share))

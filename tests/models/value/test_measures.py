from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import models.value.pieces
from models.value import (
    exact_shapley,
    fisher,
    in_order,
    leave_one_out,
    nearest,
    new_bits,
    permutation_shapley,
    shares,
)
from models.value.errors import RoundError
from models.value.fit import TOLERANCE

SUMS = [shares, new_bits, exact_shapley, permutation_shapley]


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Small matrices are quickest on one thread."""


def knowing(seed, rows, events, zeros=0.0):
    """Rows that each know something of their own, and a baseline."""
    rng = np.random.default_rng(seed)
    log_probability_NM = np.minimum(rng.normal(-2.5, 1.0, events) + rng.normal(0, 0.8, (rows, events)), -1e-3)
    log_probability_NM[rng.random((rows, events)) < zeros] = -np.inf
    return log_probability_NM, np.full(events, -3.5)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 5),
    events=st.integers(8, 400),
    strata=st.integers(1, 3),
    zeros=st.sampled_from([0.0, 0.3]),
)
@pytest.mark.parametrize("measure", SUMS)
def test_bits_sum_to_the_gain(measure, seed, rows, events, strata, zeros):
    rows_NM, baseline_M = knowing(seed, rows, events, zeros)
    rng = np.random.default_rng(seed)
    stratum_M, bytes_M = rng.integers(0, strata, events), rng.integers(1, 9, events)
    more = {"permutations": 8} if measure is permutation_shapley else {}
    measured = measure(rows_NM, baseline_M, stratum_M=stratum_M, bytes_M=bytes_M, **more)
    assert measured.bits_N.sum() == pytest.approx(measured.gain, abs=1e-9)
    assert measured.certificate <= TOLERANCE
    assert np.isfinite(measured.se_N).all()


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 5))
def test_steps_and_refit_sum_to_the_gain_of_the_shares(seed, rows):
    rows_NM, baseline_M = knowing(seed, rows, 300)
    order = in_order(rows_NM, baseline_M)
    assert order.bits_N.sum() + order.refit_bits == pytest.approx(shares(rows_NM, baseline_M).gain, abs=1e-9)


def test_a_copy_of_an_earlier_row_adds_exactly_nothing():
    rows_NM, baseline_M = knowing(1, 4, 2000)
    copied = in_order(np.vstack([rows_NM, rows_NM[1:3]]), baseline_M)
    np.testing.assert_array_equal(copied.bits_N[4:], 0.0)
    np.testing.assert_allclose(copied.bits_N[:4], in_order(rows_NM, baseline_M).bits_N, atol=1e-12)


def test_new_bits_of_a_second_epoch_are_over_the_members():
    rows_NM, baseline_M = knowing(2, 5, 3000)
    both = new_bits(np.vstack([rows_NM, rows_NM[:1]]), baseline_M, member_N=[True, True, False, False, False, False])
    assert both.admitted_N.tolist() == [False, False, True, True, True, False]
    assert not both.bits_N[[0, 1, 5]].any()
    assert both.trial_bits_N[5] == 0
    known = shares(rows_NM[:2], baseline_M).gain
    assert known + both.gain == pytest.approx(shares(rows_NM, baseline_M).gain, abs=0.01)


def slow_shapley(rows_NM, baseline_M):
    """Each subset by a fit of its own."""
    rows = len(rows_NM)
    worth = {(): 0.0}
    for size in range(1, rows + 1):
        for chosen in combinations(range(rows), size):
            worth[chosen] = shares(rows_NM[list(chosen)], baseline_M).gain
    values = np.zeros(rows)
    for row in range(rows):
        for chosen in worth:
            if row not in chosen:
                share = factorial(len(chosen)) * factorial(rows - 1 - len(chosen)) / factorial(rows)
                values[row] += share * (worth[tuple(sorted((*chosen, row)))] - worth[chosen])
    return values


def test_exact_shapley_agrees_with_every_subset_fitted_alone():
    rows_NM, baseline_M = knowing(3, 5, 600, zeros=0.1)
    slow_N = slow_shapley(rows_NM, baseline_M)
    exact = exact_shapley(rows_NM, baseline_M)
    np.testing.assert_allclose(exact.bits_N, slow_N, atol=2e-4)
    drawn = permutation_shapley(rows_NM, baseline_M, permutations=400)
    assert (np.abs(drawn.bits_N - exact.bits_N) < 4 * drawn.se_N).all()


def test_many_rows_are_refused_where_all_coalitions_would_be_fitted():
    with pytest.raises(RoundError, match="permutation_shapley"):
        exact_shapley(*knowing(4, 17, 50))


def test_a_row_nobody_can_replace_is_missed():
    rows_NM, baseline_M = knowing(5, 4, 3000)
    rows_NM[3] = rows_NM[2]
    lost = leave_one_out(rows_NM, baseline_M)
    assert lost.bits_N[2] == pytest.approx(0, abs=1e-5)
    assert lost.bits_N[3] == 0
    alone = shares(rows_NM, baseline_M).gain - shares(rows_NM[1:], baseline_M).gain
    assert lost.bits_N[0] == pytest.approx(alone, abs=1e-5)


def test_fisher_is_the_second_order_of_pruning():
    rows_NM, baseline_M = knowing(6, 3, 500)
    fold_M = np.arange(500) % 2
    score = fisher(rows_NM, baseline_M, block_M=np.arange(500), fold_M=fold_M)
    measured = shares(rows_NM, baseline_M, block_M=np.arange(500), fold_M=fold_M)
    assert score.gain == measured.gain
    assert ((score.bits_N > 0) == (measured.weights_SN[0] > 0)).all()
    assert (score.bits_N <= 0.5 / np.log(2)).all()


def test_errors_are_as_wide_as_resamples_spread():
    rng = np.random.default_rng(12)
    bits, errors = [], []
    for seed in range(60):
        rows_NM, baseline_M = knowing(seed, 3, 1200)
        rows_NM += np.repeat(rng.normal(0, 0.3, (3, 60)), 20, axis=1)
        measured = shares(np.minimum(rows_NM, 0), baseline_M, block_M=np.repeat(np.arange(60), 20))
        bits.append(measured.bits_N)
        errors.append(measured.se_N)
    ratio_N = np.sqrt(np.square(errors).mean(axis=0)) / np.std(bits, axis=0)
    assert ((ratio_N > 0.75) & (ratio_N < 1.35)).all()


def test_the_nearest_is_the_noised_copy():
    rows_NM, _ = knowing(7, 5, 2000)
    rows_NM[4] = rows_NM[1] + 0.01 * np.log(2)
    index_N, bits_N = nearest(rows_NM)
    assert (index_N[1], index_N[4]) == (4, 1)
    assert bits_N[[1, 4]] == pytest.approx([0.01, 0.01], abs=1e-9)
    assert nearest(rows_NM[:1])[0].tolist() == [-1]


@pytest.mark.parametrize("measure", [shares, new_bits, in_order, leave_one_out, fisher])
def test_what_does_not_fit_into_memory_gives_the_same(measure, monkeypatch, tmp_path):
    rows_NM, baseline_M = knowing(8, 6, 5000, zeros=0.02)
    columns = {"stratum_M": np.arange(5000) // 2500, "block_M": np.arange(5000) // 50}
    whole = measure(rows_NM.astype(np.float32), baseline_M, **columns)
    np.save(tmp_path / "rows.npy", rows_NM.astype(np.float32))
    monkeypatch.setattr(models.value.pieces, "KEPT_BYTES", 2**15)
    monkeypatch.setattr(models.value.pieces, "PIECE", 2**11)
    mapped = measure(np.load(tmp_path / "rows.npy", mmap_mode="r"), baseline_M, **columns)
    np.testing.assert_allclose(mapped.bits_N, whole.bits_N, atol=1e-5)
    np.testing.assert_allclose(mapped.se_N, whole.se_N, atol=1e-5)


def test_tensors_and_arrays_are_alike():
    rows_NM, baseline_M = knowing(9, 4, 900)
    tensor = shares(torch.from_numpy(rows_NM), torch.from_numpy(baseline_M))
    np.testing.assert_array_equal(tensor.bits_N, shares(rows_NM, baseline_M).bits_N)


@pytest.mark.parametrize(
    ("sentence", "columns"),
    [
        ("stratum_M has shape", {"stratum_M": np.zeros(3, int)}),
        ("stratum_M must be 0", {"stratum_M": np.full(40, -1)}),
        ("whole numbers", {"bytes_M": np.full(40, 1.5)}),
        ("at least one byte", {"bytes_M": np.zeros(40, int)}),
        ("fold_M must", {"fold_M": np.full(40, 2)}),
        ("two folds", {"fold_M": np.arange(40) % 2, "block_M": np.zeros(40, int)}),
        ("fold 1 has no events", {"fold_M": np.zeros(40, int)}),
    ],
)
def test_columns_that_contradict_are_refused(sentence, columns):
    with pytest.raises(RoundError, match=sentence):
        shares(*knowing(10, 2, 40), **columns)

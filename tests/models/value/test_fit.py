import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.value.errors import RoundError
from models.value.events import make_events
from models.value.fit import TOLERANCE, certificate, fit_mixture, fit_pieces
from models.value.quadratic import minimise_nonnegative
from models.value.table import FLOOR, Table


def random_rows(seed, rows, events, spread=1.5, zeros=0.0):
    rng = np.random.default_rng(seed)
    log_probability_NM = np.minimum(rng.normal(-3, spread, (rows, events)), 0)
    log_probability_NM[rng.random((rows, events)) < zeros] = -np.inf
    log_probability_NM[0] = -4.0
    return log_probability_NM


def relative(log_probability_NM):
    """Probabilities in parts of each event's largest: what the solver sees."""
    floored_NM = np.maximum(log_probability_NM, log_probability_NM[0] + np.log(FLOOR))
    return np.exp(floored_NM - floored_NM.max(axis=0))


def slow_fit(log_probability_NM, steps=8_000):
    """The multiplicative algorithm alone, from equal weights: obvious, and slow."""
    relative_NM = relative(log_probability_NM)
    weights_N = np.full(len(relative_NM), 1 / len(relative_NM))
    for _ in range(steps):
        weights_N = weights_N * (relative_NM / (weights_N @ relative_NM)).mean(axis=1)
    return weights_N


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 24),
    events=st.integers(1, 300),
    spread=st.floats(0, 8),
    zeros=st.floats(0, 0.9),
)
def test_weights_are_a_certified_mixture(seed, rows, events, spread, zeros):
    log_probability_NM = random_rows(seed, rows, events, spread, zeros)
    fit = fit_mixture(log_probability_NM)
    assert fit.weights_N.min() >= 0
    assert fit.weights_N.sum() == pytest.approx(1, abs=1e-12)
    assert fit.certificate <= TOLERANCE
    assert certificate(fit.weights_N, log_probability_NM) == pytest.approx(fit.certificate, abs=1e-9)


def test_agrees_with_the_slow_fit():
    log_probability_NM = random_rows(3, 6, 400, zeros=0.05)
    slow_N, fast_N = slow_fit(log_probability_NM), fit_mixture(log_probability_NM, tolerance=1e-10).weights_N
    np.testing.assert_allclose(fast_N, slow_N, atol=1e-5)
    slow, fast = (np.log(weights_N @ relative(log_probability_NM)).mean() for weights_N in (slow_N, fast_N))
    assert fast >= slow - 1e-12


def test_order_of_rows_does_not_matter():
    log_probability_NM = random_rows(4, 9, 500)
    order = np.random.default_rng(0).permutation(9)
    straight = fit_mixture(log_probability_NM, tolerance=1e-10).weights_N
    shuffled = fit_mixture(log_probability_NM[order], tolerance=1e-10).weights_N
    np.testing.assert_allclose(shuffled, straight[order], atol=1e-7)


def test_of_identical_rows_the_first_carries_the_weight():
    log_probability_NM = random_rows(5, 4, 300)
    doubled = fit_mixture(np.vstack([log_probability_NM, log_probability_NM])).weights_N
    np.testing.assert_allclose(doubled[:4], fit_mixture(log_probability_NM).weights_N, atol=1e-12)
    assert not doubled[4:].any()


def test_a_shift_of_an_event_changes_nothing():
    log_probability_NM = random_rows(6, 5, 200)
    shift_M = np.random.default_rng(1).uniform(-700, 0, 200)
    straight, shifted = fit_mixture(log_probability_NM), fit_mixture(log_probability_NM + shift_M)
    np.testing.assert_allclose(shifted.weights_N, straight.weights_N, atol=1e-6)


def test_a_start_that_is_good_enough_is_kept():
    log_probability_NM = random_rows(7, 5, 200)
    best = fit_mixture(log_probability_NM, tolerance=1e-9).weights_N
    fit = fit_mixture(log_probability_NM, start=best)
    assert fit.iterations == 0
    np.testing.assert_array_equal(fit.weights_N, best / best.sum())


def test_nearly_equal_rows_are_certified():
    rng = np.random.default_rng(8)
    base_M = rng.normal(-2, 1, 2000)
    log_probability_NM = np.minimum(base_M + rng.normal(0, 1e-5, (40, 2000)), 0)
    assert fit_mixture(log_probability_NM, tolerance=1e-9).certificate <= 1e-9


def test_probabilities_have_a_floor_below_the_baseline():
    baseline_M, rows_NM = np.array([-1.0, -5.0]), np.array([[-np.inf, -1.0], [-800.0, -3.0]])
    fold_M, block_M = np.array([0, 1]), np.array([0, 1])
    table = Table(rows_NM, baseline_M, make_events(2, fold_M=fold_M, block_M=block_M))
    ((_, _, piece),) = table.walk([(0, 2)])
    expected = np.array([[1.0, np.exp(-4)], [FLOOR, 1.0], [FLOOR, np.exp(-2)]])
    np.testing.assert_allclose(piece.numpy(), expected, rtol=1e-12)


def test_the_floor_does_not_depend_on_other_rows():
    log_probability_NM = random_rows(9, 4, 300, zeros=0.3)
    better_M = np.full(300, -1e-3)
    alone = fit_mixture(log_probability_NM[:3]).weights_N
    table = Table(np.vstack([log_probability_NM[1:3], better_M]), log_probability_NM[0], make_events(300))
    beside = fit_pieces(table.pieces([(0, 300)], np.arange(3))).weights_N
    np.testing.assert_allclose(beside, alone, atol=1e-9)


@pytest.mark.parametrize("bits", [30, 100, 900])
def test_long_segments_do_not_underflow(bits):
    log_probability_NM = random_rows(10, 4, 200) * (bits * np.log(2) / 4)
    log_probability_NM[0] = -bits * np.log(2)
    fit = fit_mixture(log_probability_NM)
    assert fit.certificate <= TOLERANCE
    assert np.isfinite(fit.weights_N).all()


def test_an_event_the_baseline_gives_no_probability_is_refused():
    with pytest.raises(RoundError, match="event 1"):
        fit_mixture(np.array([[-1.0, -np.inf], [-2.0, -np.inf]]))


def test_what_is_no_logarithm_of_a_probability_is_refused():
    with pytest.raises(RoundError, match="not a number"):
        fit_mixture(np.array([[-1.0, -2.0], [np.nan, -1.0]]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 10))
def test_quadratic_minimiser_satisfies_its_conditions(seed, size):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    hessian, linear = root @ root.T + 0.1 * np.eye(size), rng.normal(size=size)
    y = minimise_nonnegative(hessian, linear, np.abs(rng.normal(size=size)))
    gradient = hessian @ y - linear
    assert y.min() >= 0
    assert gradient.min() >= -1e-9
    assert abs(gradient @ y) <= 1e-9

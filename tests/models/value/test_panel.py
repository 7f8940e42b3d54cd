"""What is no distribution, what another said before, what was looked up: each with its figures, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.value.errors import RoundError
from models.value.panel import (
    check_certainty,
    check_distributions,
    check_looked_up,
    find_original,
    looked_up,
    mark_windows,
    target_column,
)

W = 64
TARGET_W = np.random.default_rng(0).integers(0, 256, W, dtype=np.uint8)


def distributions(seed: int = 0, sharp: float = 2.0) -> np.ndarray:
    """Any distributions, float32 [W, 256]."""
    logits = np.random.default_rng(seed).normal(0.0, sharp, (W, 256))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def one_hot(bytes_W: np.ndarray) -> np.ndarray:
    log_probability_W256 = np.full((W, 256), -np.inf, np.float32)
    log_probability_W256[np.arange(W), bytes_W] = 0.0
    return log_probability_W256


def test_distributions_are_accepted_sharp_or_flat():
    for values in (distributions(), distributions(1, 30.0), one_hot(TARGET_W)):
        check_distributions(values)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda values: np.where(np.arange(256) == 7, np.nan, values), "64 of 64 distributions hold what is not a num"),
        (lambda values: np.where(np.arange(256) == 7, 0.7, values), "64 of 64 distributions hold a probability above"),
        (lambda values: values + np.float32(np.log(2)), "64 of 64 distributions do not sum to 1, one sums to 2"),
        (lambda values: values - np.float32(0.01), "64 of 64 distributions do not sum to 1, one sums to 0.99"),
        (lambda values: np.full_like(values, -np.inf), "do not sum to 1, one sums to 0"),
        (lambda values: np.full_like(values, np.inf), "hold a probability above 1"),
    ],
)
def test_what_is_no_distribution_is_told_with_its_figures(spoil, reason):
    with pytest.raises(RoundError, match=reason):
        check_distributions(spoil(distributions(sharp=0.5)).astype(np.float32))


@given(st.floats(-9e-4, 9e-4))
def test_a_sum_that_is_nearly_1_gains_nothing(off):
    exact, nearly = distributions(), distributions() + np.float32(np.log1p(off))
    check_distributions(nearly)
    np.testing.assert_allclose(target_column(nearly, TARGET_W), target_column(exact, TARGET_W), atol=1e-5)
    assert target_column(one_hot(TARGET_W), TARGET_W).max() == 0


def test_who_is_certain_and_wrong_answers_no_probabilities():
    check_certainty(one_hot(TARGET_W), TARGET_W)
    few_wrong = TARGET_W.copy()
    few_wrong[:16] += 1
    check_certainty(one_hot(few_wrong), TARGET_W)
    few_wrong[16] += 1
    with pytest.raises(RoundError, match="was certain of 64 bytes and wrong about 17 of them"):
        check_certainty(one_hot(few_wrong), TARGET_W)
    check_certainty(distributions(), TARGET_W)


def test_the_same_answers_are_known_also_where_a_few_were_changed():
    first, second = distributions(1), distributions(2)
    copy = second.copy()
    copy[: W // 3] = distributions(3)[: W // 3]
    marks = [mark_windows(first), mark_windows(second)]
    assert find_original(mark_windows(copy), marks) == 1
    assert find_original(mark_windows(distributions(3)), marks) is None
    assert find_original(mark_windows(np.float32(second.astype(np.float64))), marks) == 1
    assert find_original(marks[0], []) is None


def test_marks_tell_permuted_distributions_apart():
    assert not np.any(mark_windows(distributions()) == mark_windows(distributions()[:, ::-1].copy()))


def segments_of(values_NW: list[list[float]], events: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows of several events of several bytes whose geometric mean per byte is as given."""
    bytes_M = np.tile(np.arange(1, events + 1), len(values_NW[0]))
    window_M = np.repeat(np.arange(len(values_NW[0])), events)
    return np.log(np.array(values_NW))[:, window_M] * bytes_M, window_M, bytes_M


def test_windows_that_one_knows_and_nobody_else():
    rows, window_M, bytes_M = segments_of([[0.1, 0.1, 0.1, 0.1], [0.995, 0.98, 0.995, 1.0], [0.4, 0.4, 0.6, 0.999]])
    found = looked_up(rows, window_M, bytes_M, windows=4)
    assert found.known == {0: 0, 1: 1, 2: 0}
    assert found.alone == {0: 0, 1: 2, 2: 0}


def test_rows_of_one_owner_are_no_others_to_each_other():
    rows, window_M, bytes_M = segments_of([[0.1, 0.1], [0.995, 0.2], [0.999, 0.995]])
    found = looked_up(rows, window_M, bytes_M, windows=2, owner_N=[-1, 5, 5])
    assert found.known == {-1: 0, 5: 2}
    assert found.alone == {-1: 0, 5: 2}
    assert looked_up(rows, window_M, bytes_M, windows=2).known == {0: 0, 1: 0, 2: 1}


def test_equal_rows_shield_each_other():
    rows, window_M, bytes_M = segments_of([[0.995, 0.995], [0.995, 0.995]])
    assert looked_up(rows, window_M, bytes_M, windows=2).known == {0: 0, 1: 0}


def test_a_window_that_nobody_was_asked_about_is_nobodys():
    rows, window_M, bytes_M = segments_of([[0.1], [1.0]])
    assert looked_up(rows, window_M, bytes_M, windows=3).alone == {0: 0, 1: 1}


def test_who_knows_nearly_all_that_nobody_knows_has_looked_it_up():
    check_looked_up(63, 63)
    check_looked_up(90, 100)
    with pytest.raises(RoundError, match="knows 91 of 100 bytes that nobody else does"):
        check_looked_up(91, 100)

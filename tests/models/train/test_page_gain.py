"""Who trained on its pages: the statistic on made tables, and real members of whom one trains on something else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.train.page_gain import CLEAR_Z, PageGain, clear_limit, trace


def table(members: int, batches: int, traces_U: np.ndarray, seed: int, rows: float = 3.0) -> tuple[np.ndarray, ...]:
    """Gains with effects of rows and columns, errors of 1, and a trace of each update on its own pages."""
    random = np.random.default_rng(seed)
    owner_R = np.repeat(np.arange(members + 1), batches)
    gain_RU = rows * random.normal(size=(len(owner_R), 1)) + 5 * random.normal(size=(1, members))
    gain_RU = gain_RU + random.normal(size=(len(owner_R), members))
    return gain_RU + np.where(owner_R[:, None] == np.arange(members), traces_U, 0.0), owner_R


@pytest.mark.parametrize(("members", "batches"), [(3, 4), (4, 8), (8, 2), (16, 4)])
def test_without_traces_the_statistic_is_a_standard_one(members: int, batches: int) -> None:
    z = np.array([trace(*table(members, batches, np.zeros(members), seed)) for seed in range(200)])
    assert abs(z.mean()) < 0.1
    assert 0.9 < z.std() < 1.35


def test_who_has_no_trace_is_told_from_who_has() -> None:
    for seed in range(20):
        z_U = trace(*table(8, 8, np.array([0, 4, 4, 4, 3, 5, 4, 4.0]), seed))
        limit = clear_limit(z_U)
        assert z_U[0] < limit < z_U[1:].min()


def test_three_who_trained_on_nothing_do_not_hide_behind_each_other() -> None:
    z_U = trace(*table(8, 8, np.array([0, 0, 0, 4, 4, 4, 4, 4.0]), 5))
    assert z_U[:3].max() < clear_limit(z_U) < z_U[3:].min()


@given(st.integers(0, 7), st.floats(1e-6, 1e6))
def test_an_updates_size_changes_nothing(who: int, size: float) -> None:
    gain_RU, owner_R = table(8, 4, np.full(8, 3.0), 1)
    scaled_RU = gain_RU.copy()
    scaled_RU[:, who] *= size
    np.testing.assert_allclose(trace(scaled_RU, owner_R), trace(gain_RU, owner_R), rtol=1e-5, atol=1e-6)


def test_nobody_is_refused_where_nothing_is_clear() -> None:
    assert np.isnan(trace(*table(2, 4, np.full(2, 9.0), 0))).all()
    assert np.isnan(clear_limit(np.array([CLEAR_Z / 2, 0.0, CLEAR_Z * 3])))
    assert not PageGain(0.0, 0.0, -9.0, float("nan")).failed
    assert [PageGain(0.0, 0.0, z, 2.0).failed for z in (-6.0, -1.0, 1.0, 6.0)] == [False, True, True, False]
    assert (trace(np.ones((10, 4)), np.repeat(np.arange(5), 2)) == 0).all()

"""Values of updates on a small trained model: they sum to the true change, and tell what an update is."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from models.train.cohort import OuterSettings
from models.train.compression import compress, decode
from models.train.layout import Layout, Vector, read_vector, write_vector
from models.train.step import Part, joint_step
from models.train.update import Update
from models.train.update_value import Dots, UpdateValues, cut_batches, gradient, ratio_errors, text_bits, value_step

MEMBERS = 4


class Trained(NamedTuple):
    """A model that has learned a little, and what four members would have it learn next."""

    model: Any
    layout: Layout
    outer: OuterSettings
    theta_P: Vector
    updates: dict[int, Update]
    held_out_WT: np.ndarray


@pytest.fixture(scope="module")
def trained(cohort: Any) -> Trained:
    """Text is a source of bytes each of which depends on the one before."""
    payloads = {uid: cohort.payload(cohort.draw(uid + 1, 32)) for uid in range(MEMBERS)}
    updates = {uid: decode(payload, cohort.layout, cohort.outer) for uid, payload in payloads.items()}
    return Trained(cohort.model, cohort.layout, cohort.outer, cohort.theta_P, updates, cohort.draw(99, 24))


def value(trained: Trained, updates: dict[int, Update], **options: int) -> UpdateValues:
    step = joint_step(updates, trained.layout.size, trained.outer)
    groups_W = np.arange(len(trained.held_out_WT)) // 2
    return value_step(trained.model, trained.theta_P, step, trained.held_out_WT, groups_W, **options)


def test_values_sum_to_the_true_change(trained: Trained) -> None:
    found = value(trained, trained.updates)
    assert found.measured_bits > 0.01
    assert found.path_bits == pytest.approx(found.measured_bits, rel=0.01)
    assert found.value_U.sum() == pytest.approx(found.path_bits, rel=1e-9)
    assert (found.value_U > 0).all()
    assert read_vector(trained.model).tobytes() == trained.theta_P.tobytes()
    assert found.bytes_G.sum() == trained.held_out_WT[:, 1:].size


def test_a_flipped_update_has_the_exact_negative(trained: Trained) -> None:
    honest = trained.updates[0]
    flipped = Update(honest.position_N, -honest.value_N, honest.norm)
    found = value(trained, {0: honest, 5: flipped, 9: trained.updates[1]}).values()
    assert found[0] > 0
    assert found[5] == pytest.approx(-found[0], rel=1e-5)


def test_an_update_of_zeros_is_worth_nothing_and_noise_little(trained: Trained) -> None:
    honest = trained.updates[0]
    random = np.random.default_rng(3)
    position_N = np.sort(random.choice(trained.layout.size, len(honest.value_N), replace=False)).astype(np.int64)
    sign_N = random.choice(np.array([-1, 1], np.float32), len(position_N))
    noise_N = (np.abs(honest.value_N).mean() * sign_N).astype(np.float32)
    zeros = Update(honest.position_N, np.zeros_like(honest.value_N), 0.0)
    noise = Update(position_N, noise_N, float(np.linalg.norm(noise_N)))
    found = value(trained, {**trained.updates, 10: noise}).values()
    assert abs(found[10]) < 0.1 * np.median([found[uid] for uid in range(MEMBERS)])
    assert value(trained, {**trained.updates, 10: zeros}).values()[10] == 0.0


def test_whole_updates_and_momentum_are_on_the_path_too(trained: Trained) -> None:
    outer = OuterSettings(rate=0.7, momentum=0.9, keep=4096)
    updates = {
        uid: decode(compress(dense(trained, update), trained.layout, outer), trained.layout, outer)
        for uid, update in trained.updates.items()
    }
    first = joint_step(updates, trained.layout.size, outer)
    second = joint_step(updates, trained.layout.size, outer, first.momentum_P)
    groups_W = np.arange(len(trained.held_out_WT))
    found = value_step(trained.model, trained.theta_P, second, trained.held_out_WT, groups_W)
    assert found.path_bits == pytest.approx(found.measured_bits, rel=0.02)
    assert abs(found.path_bits - found.value_U.sum()) > 1e-3


def dense(trained: Trained, update: Update) -> Vector:
    vector_P = np.zeros(trained.layout.size, np.float32)
    vector_P[update.position_N] = update.value_N
    return vector_P


def test_products_are_those_of_the_whole_vectors(trained: Trained) -> None:
    gradient_P = gradient(trained.model, trained.held_out_WT[:8])
    empty = Part(np.empty(0, np.int64), np.empty(0, np.float32))
    whole = Part(None, dense(trained, trained.updates[2]))
    parts = [Part(each.position_N, each.value_N) for each in trained.updates.values()]
    dots = Dots([parts[0], empty, whole, parts[1]], trained.model.device)
    vectors = [dense(trained, trained.updates[0]), 0 * whole.value_N, whole.value_N, dense(trained, trained.updates[1])]
    expected = [float(vector_P.astype(np.float64) @ gradient_P.double().numpy()) for vector_P in vectors]
    np.testing.assert_allclose(dots.with_gradient(gradient_P), expected, rtol=1e-4, atol=1e-9)


def test_a_gradient_is_the_slope_of_the_bits(trained: Trained) -> None:
    direction_P = dense(trained, trained.updates[0])
    slope = float(gradient(trained.model, trained.held_out_WT).numpy() @ direction_P)
    ends = []
    for sign in (1, -1):
        write_vector(trained.model, trained.theta_P + np.float32(0.01 * sign) * direction_P)
        ends.append(text_bits(trained.model, trained.held_out_WT, 8))
    write_vector(trained.model, trained.theta_P)
    assert (ends[0] - ends[1]) / 0.02 == pytest.approx(slope, rel=0.01)


def test_windows_of_a_group_stay_together() -> None:
    groups_W = np.array([5, 5, 1, 7, 7, 7, 7, 7, 2, 5])
    batches = list(cut_batches(groups_W, 4))
    assert sorted(row for _, rows in batches for row in rows) == list(range(10))
    assert all(len(rows) <= 4 for _, rows in batches)
    numbers = {row: number for number, rows in batches for row in rows}
    for group in set(groups_W):
        assert len({numbers[row] for row in np.flatnonzero(groups_W == group)}) == 1
    assert sorted({number for number, _ in batches}) == list(range(len({number for number, _ in batches})))


def test_the_standard_error_covers_the_mean() -> None:
    """2,000 draws of 12 groups of unlike size: about 68 and 95 of 100 means are within one and two errors."""
    random = np.random.default_rng(0)
    bytes_G = np.array([100, 50, 200, 100, 100, 150, 80, 100, 120, 100, 60, 100])
    bits_UG = bytes_G * 0.3 + random.normal(size=(2000, 12)) * np.sqrt(bytes_G) * 0.5
    far_U = np.abs(bits_UG.sum(axis=1) / bytes_G.sum() - 0.3) / ratio_errors(bits_UG, bytes_G)
    assert 0.60 < (far_U < 1).mean() < 0.72
    assert 0.90 < (far_U < 2).mean() < 0.97
    assert np.isnan(ratio_errors(bits_UG[:, :1], bytes_G[:1])).all()

"""The step of a cohort: what torch's own optimizer would do, division, clipping, and who sent what another did."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.train.cohort import OuterSettings
from models.train.step import LIKENESS, apply_step, cosine, joint_step, near_copies
from models.train.update import Update

SIZE = 200


def sparse(seed: int, count: int = 40, scale: float = 1.0) -> Update:
    random = np.random.default_rng(seed)
    position_N = np.sort(random.choice(SIZE, count, replace=False)).astype(np.int64)
    return of(position_N, (random.normal(size=count) * scale).astype(np.float32))


def of(position_N: np.ndarray | None, value_N: np.ndarray) -> Update:
    return Update(position_N, value_N, float(np.linalg.norm(value_N.astype(np.float64))))


def whole(seed: int) -> Update:
    return of(None, np.random.default_rng(seed).normal(size=SIZE).astype(np.float32))


def test_whole_updates_with_momentum_are_torch_sgd_of_their_mean() -> None:
    outer = OuterSettings(rate=0.7, momentum=0.9, keep=4096)
    theta_P, momentum_P = np.random.default_rng(9).normal(size=SIZE).astype(np.float32), None
    parameter = torch.tensor(theta_P.copy(), requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.7, momentum=0.9, nesterov=True)
    for number in range(6):
        first = whole(number)
        # Of one norm, so that none is clipped.
        updates = {uid: of(None, np.roll(first.value_N, uid)) for uid in range(3)}
        step = joint_step(updates, SIZE, outer, momentum_P)
        theta_P, momentum_P = apply_step(theta_P, step), step.momentum_P
        parameter.grad = torch.tensor(np.mean([update.value_N for update in updates.values()], axis=0))
        optimizer.step()
        assert (step.carried_P is None) == (number == 0)
    np.testing.assert_allclose(theta_P, parameter.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("floor", "divisors"), [(0.0, [1, 2, 1]), (0.5, [2, 2, 2]), (1.0, [4, 4, 4])])
def test_a_coordinate_is_divided_by_its_senders_and_at_least_by_the_floor(floor: float, divisors: list[int]) -> None:
    ones = np.ones(2, np.float32)
    updates = {uid: of(np.array(places), ones) for uid, places in enumerate([(0, 1), (1, 2), (10, 11), (20, 21)])}
    step = joint_step(updates, SIZE, OuterSettings(rate=1.0, senders_floor=floor))
    after_P = apply_step(np.zeros(SIZE, np.float32), step)
    senders = np.array([1, 2, 1])
    np.testing.assert_array_equal(after_P[:3], (-senders / np.array(divisors)).astype(np.float32))


def test_a_thousandfold_update_moves_theta_as_far_as_the_median_one() -> None:
    honest = {uid: sparse(uid) for uid in range(5)}
    loud = {**honest, 2: of(honest[2].position_N, honest[2].value_N * np.float32(1000.0))}
    outer = OuterSettings(rate=1.0, senders_floor=1.0)
    parts = joint_step(loud, SIZE, outer).parts
    norms = [float(np.linalg.norm(parts[uid].value_N)) for uid in range(5)]
    assert max(norms) <= np.median([update.norm for update in honest.values()]) / 5 * (1 + 1e-6)


@given(st.permutations(list(range(6))), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.9]))
def test_the_step_does_not_depend_on_who_is_named_first(order: list[int], floor: float, momentum: float) -> None:
    outer = OuterSettings(senders_floor=floor, momentum=momentum)
    momentum_P = whole(99).value_N if momentum else None
    theta_P = whole(98).value_N
    one, other = (
        apply_step(theta_P, joint_step({uid: sparse(uid) for uid in uids}, SIZE, outer, momentum_P))
        for uids in (range(6), order)
    )
    assert one.tobytes() == other.tobytes()


def test_the_same_bits_on_every_machine() -> None:
    """Made once on x86-64; powers of two and thirds, so that every operation has to round."""
    places = np.arange(0, SIZE, 3)
    values = (np.arange(len(places)) - 20).astype(np.float32) / np.float32(3.0)
    updates = {uid: Update(places + uid % 2, values * np.float32(uid + 1), float(uid + 1)) for uid in range(5)}
    theta_P = np.arange(SIZE, dtype=np.float32) / np.float32(7.0)
    momentum_P = np.arange(SIZE, dtype=np.float32) / np.float32(11.0)
    step = joint_step(updates, SIZE, OuterSettings(rate=0.7, momentum=0.9, senders_floor=0.5), momentum_P)
    digest = hashlib.blake2b(apply_step(theta_P, step).astype("<f4").tobytes(), digest_size=16).hexdigest()
    assert digest == "425bbedec575bc719f1f889f0c74e634"


def test_what_float32_cannot_hold_in_full_precision_counts_as_nothing() -> None:
    tiny = np.array([1e-39, -1e-40, 1e-3], np.float32)
    step = joint_step({0: of(np.array([0, 1, 2]), tiny)}, SIZE, OuterSettings(rate=1.0))
    np.testing.assert_array_equal(step.parts[0].value_N, np.array([0, 0, -1e-3], np.float32))


def test_nobody_takes_no_step() -> None:
    theta_P = whole(1).value_N
    assert apply_step(theta_P, joint_step({}, SIZE, OuterSettings())).tobytes() == theta_P.tobytes()


def test_a_copy_is_one_scaled_noisy_or_with_parts_left_out() -> None:
    first = sparse(0)
    assert first.position_N is not None
    random = np.random.default_rng(1)
    copies = [
        of(first.position_N, first.value_N * np.float32(50.0)),
        of(first.position_N, first.value_N + random.normal(size=40).astype(np.float32)),
        of(first.position_N[::2], first.value_N[::2]),
    ]
    for copy in copies:
        assert cosine(first, copy) >= LIKENESS
        assert near_copies({3: copy, 7: first, 8: sparse(5)}, [7, 8, 3]) == {3: 7}
        assert near_copies({3: copy, 7: first}, [3, 7]) == {7: 3}
    whole_P = whole(0).value_N
    half_P = (whole_P + 1.5 * whole(1).value_N).astype(np.float32)
    assert near_copies({0: of(None, whole_P), 1: of(None, half_P)}, [0, 1]) == {}
    assert near_copies({0: of(None, whole_P), 1: of(None, whole_P + half_P / 10)}, [0, 1]) == {1: 0}
    opposite = of(first.position_N, -first.value_N)
    assert near_copies({0: first, 1: opposite, 2: sparse(3)}, [0, 1, 2]) == {}


def test_likeness_of_whole_and_sparse_updates_is_their_cosine() -> None:
    one, other = sparse(0), sparse(1)
    dense = []
    for update in (one, other):
        vector_P = np.zeros(SIZE, np.float32)
        vector_P[update.position_N] = update.value_N
        dense.append(of(None, vector_P))
    expected = float(dense[0].value_N @ dense[1].value_N) / one.norm / other.norm
    pairs = [(one, other), (one, dense[1]), (dense[0], other), (dense[0], dense[1])]
    assert [cosine(*pair) for pair in pairs] == pytest.approx([expected] * 4, abs=1e-6)

"""Newton's method on the few rows of a mixture's support.

Invariants: a step that gains nothing is replaced by a multiplicative one (EM), which cannot lose; a Hessian serves as
long as it brings the weights so much nearer with each step; one answer of the device is waited for in each step, and
one for each Hessian.

What bounds it: 2·K²·M operations of each Hessian, and two readings of the rows in each step.

Legend: K rows, M events, m events of a piece.
"""

import numpy as np
import torch
from torch import Tensor

from models.value.events import Array
from models.value.pieces import Pieces
from models.value.products import each_over_events, over_events
from models.value.quadratic import minimise_nonnegative

RIDGE = 1e-12
"""Part of the Hessian's mean diagonal that is added to it, for rows that are nearly equal."""
ENTRY = 1e-6
"""The weight with which a row enters by a multiplicative step, which cannot raise a weight from 0."""
NEARER = 0.1
"""A Hessian is used again after a step that left less than this part of the excess: what is left is then quickly gone,
at the price of two readings."""


def polish(pieces: Pieces, weights_K: Array, goal: float, enough: float, limit: int) -> tuple[Array, int]:
    """Steps on few rows until none has E[p_j/p] − 1 above the goal, and how many were taken.

    Below `enough` it may end earlier: where the Hessian of the place gains nothing any more.
    """
    p = _mix(pieces, weights_K)
    ratio_K, _ = _look(pieces, p, p)
    hessian_KK, before = None, np.inf
    for step in range(limit):
        above = float(ratio_K.max()) - 1.0
        if above <= goal:
            return weights_K, step
        fresh = hessian_KK is None or above > NEARER * before
        if hessian_KK is None or fresh:
            hessian_KK = _hessian(pieces, p)
        before = above
        linear_K = hessian_KK @ weights_K + ratio_K - 1.0
        target_K = minimise_nonnegative(hessian_KK, linear_K, weights_K)
        stepped = _step(pieces, weights_K, p, ratio_K, target_K)
        if stepped is None and not fresh:
            hessian_KK = None
            continue
        if stepped is None and above <= enough:
            return weights_K, step
        weights_K, p, ratio_K = stepped or _multiply(pieces, weights_K, p, ratio_K)
    return weights_K, limit


Place = tuple[Array, list[Tensor], Array]
"""Weights [K] of sum 1, p by piece, and E[p_j/p] [K]."""


def _step(pieces: Pieces, weights_K: Array, p: list[Tensor], ratio_K: Array, target_K: Array) -> Place | None:
    """Go the longest of 1, ½, ¼… of the way to the target that gains (Armijo); None if none does.

    Near the end, where gains are lost in rounding, a step counts that leaves NEARER of the excess.
    """
    direction = target_K - weights_K
    slope, above = float((ratio_K - 1.0) @ direction), float(ratio_K.max()) - 1.0
    target = _mix(pieces, target_K)
    for length in (0.5**halvings for halvings in range(24)):
        moved = [torch.lerp(p_m, target_m, length) for p_m, target_m in zip(p, target, strict=True)]
        moved_K, logs = _look(pieces, moved, p)
        place = _whole(np.maximum(weights_K + length * direction, 0.0), moved, moved_K)
        gained = logs - np.log1p(length * direction.sum())
        if (gained > 0 and gained >= 1e-4 * length * slope) or float(place[2].max()) - 1.0 <= NEARER * above:
            return place
    return None


def _multiply(pieces: Pieces, weights_K: Array, p: list[Tensor], ratio_K: Array) -> Place:
    """A multiplicative step (EM), by which rows without weight enter with ENTRY."""
    weights_K = np.where(weights_K > 0, weights_K * ratio_K, ENTRY)
    moved = _mix(pieces, weights_K)
    return _whole(weights_K, moved, _look(pieces, moved, p)[0])


def _whole(weights_K: Array, p: list[Tensor], ratio_K: Array) -> Place:
    """The same made to sum to 1."""
    total = weights_K.sum()
    return weights_K / total, [p_m / total for p_m in p], ratio_K * total


def _look(pieces: Pieces, p: list[Tensor], before: list[Tensor]) -> tuple[Array, float]:
    """E[p_j/p] [K], and E[ln p] over that of p before; one answer of the device."""
    found = zeros(pieces, pieces.rows + 1)
    for piece, p_m, before_m in zip(pieces, p, before, strict=True):
        found[:-1] += each_over_events(piece, p_m.reciprocal())
        found[-1] += (p_m / before_m).log_().sum()
    host = found.cpu().numpy() / pieces.events
    return host[:-1], float(host[-1])


def _hessian(pieces: Pieces, p: list[Tensor]) -> Array:
    """The Hessian [K, K] of −E[ln(y·R)]: E[p_i p_j / p²], with a ridge."""
    total_KK = zeros(pieces, pieces.rows, pieces.rows)
    for piece, p_m in zip(pieces, p, strict=True):
        scaled_Km = piece / p_m
        total_KK += over_events(scaled_Km, scaled_Km.T)
    hessian_KK: Array = total_KK.cpu().numpy() / pieces.events
    hessian_KK[np.diag_indices_from(hessian_KK)] += RIDGE * np.trace(hessian_KK) / pieces.rows
    return hessian_KK


def _mix(pieces: Pieces, weights_K: Array) -> list[Tensor]:
    weights = on_device(pieces, weights_K)
    return [weights @ piece for piece in pieces]


def on_device(pieces: Pieces, vector: Array) -> Tensor:
    """A vector where the pieces are."""
    return torch.tensor(vector, dtype=torch.float64, device=pieces.device)


def zeros(pieces: Pieces, *shape: int) -> Tensor:
    """Zeros where the pieces are."""
    return torch.zeros(*shape, dtype=torch.float64, device=pieces.device)

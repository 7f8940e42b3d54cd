"""The mixture whose weights maximise the mean log-probability of the events, with a certificate of optimality.

Invariants: weights are non-negative and sum to 1; of identical rows only the first carries weight; the result depends
on log-probabilities only through differences within an event; max_j E[p_j/p] − 1 bounds the nats missing to the best.

Legend: N rows (the first is the baseline), M events, K rows of the support, m events of a piece.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.value.events import Array, make_events
from models.value.table import Pieces, Table

TOLERANCE = 1e-6
"""The certificate that a fit must reach: no row could add more than this many nats per event."""
ENTRANTS = 32
"""Rows that may join the support at once; more only makes the quadratic problem larger."""
MAXIMUM_STEPS = 500
"""Newton needs 5 to 30; the rest is room for multiplicative steps on ill-conditioned rounds."""
POLISH = 0.1
"""The support is solved to this part of what the other rows exceed it by, before others are looked at again."""
THIN = 8
THIN_EVENTS = 8192
THIN_TOLERANCE = 1e-3
"""With THIN times so many events or more a fit starts from that of every THIN-th event: the support is nearly equal."""
RIDGE = 1e-12
"""Part of the Hessian's mean diagonal that is added to it, for rows that are nearly equal."""
ENTRY = 1e-6
"""The weight with which a row enters by a multiplicative step, which cannot raise a weight from 0."""
ALIKE = 1e-11
"""Rows whose fingerprints differ by more than this part are not identical; others are compared event by event."""


@dataclass(frozen=True)
class Fit:
    """Weights of a mixture, the certificate max_j E[p_j/p] − 1 that they reach, and the steps it took."""

    weights_N: Array
    certificate: float
    iterations: int


def fit_mixture(
    log_probability_NM: Any,
    *,
    start: Array | None = None,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
) -> Fit:
    """Weights [N] that maximise E[ln Σ_j w_j p_j], from natural log-probabilities (−inf allowed but in row 0).

    Raises RoundError for an event to which row 0, the baseline, gives no probability.
    """
    return fit_pieces(_whole(log_probability_NM, device), start=start, tolerance=tolerance)


def certificate(weights_N: Array, log_probability_NM: Any) -> float:
    """max_j E[p_j/p] − 1 of given weights: 0 at the optimum, else no less than the nats per event missing to it."""
    return excess(_whole(log_probability_NM, "cpu"), weights_N)


def _whole(log_probability_NM: Any, device: str | torch.device) -> Pieces:
    events = log_probability_NM.shape[1]
    return Table(log_probability_NM[1:], log_probability_NM[0], make_events(events), device).pieces([(0, events)])


def fit_pieces(pieces: Pieces, *, start: Array | None = None, tolerance: float = TOLERANCE) -> Fit:
    """Weights [N] of rows given in pieces.

    A constrained Newton method (Wang 2007, JRSS B 69:185, with the relaxation of Kim et al. 2020, JCGS 29:261) with
    column generation: rows with E[p_j/p] > 1 join the support, whose few rows are solved; rows at 0 leave. A pass
    over all rows finds who enters and gives the certificate. `start` that already reaches the tolerance is returned
    as it is.
    """
    first_N = _first_of_identical(pieces)
    weights_N = _start(pieces) if start is None else start / start.sum()
    if not first_N.all() and (weights_N[~first_N] > 0).any():
        weights_N = np.where(first_N, weights_N, 0.0)
        weights_N = weights_N / weights_N.sum() if weights_N.any() else np.eye(pieces.rows)[0]
    iterations = 0
    while True:
        ratio_N = ratios(pieces, weights_N)
        above = float(ratio_N[first_N].max()) - 1.0
        if above <= tolerance or iterations >= MAXIMUM_STEPS:
            return Fit(weights_N, above, iterations)
        support = np.union1d(np.flatnonzero(weights_N), _entrants(weights_N, np.where(first_N, ratio_N, 0.0)))
        goal = max(tolerance / 2, POLISH * above)
        weights_K, steps = _polish(pieces.select(support), weights_N[support], goal, MAXIMUM_STEPS - iterations)
        weights_N = np.zeros(pieces.rows)
        weights_N[support] = weights_K
        iterations += max(steps, 1)


def excess(pieces: Pieces, weights_N: Array) -> float:
    """max_j E[p_j/p] − 1 of rows in pieces."""
    return float(ratios(pieces, weights_N).max()) - 1.0


def ratios(pieces: Pieces, weights_N: Array) -> Array:
    """E[p_j/p] of every row [N]."""
    total_N: Tensor | float = 0.0
    for piece in pieces:
        total_N = total_N + piece @ (_on(piece, weights_N) @ piece).reciprocal_()
    return _host(total_N) / pieces.events


def _first_of_identical(pieces: Pieces) -> NDArray[np.bool_]:
    """Which rows are not equal to one before them."""
    print_N: Tensor | float = 0.0
    for piece in pieces:
        print_N = print_N + piece @ torch.linspace(0.5, 1.5, piece.shape[1], dtype=piece.dtype, device=piece.device)
    prints_N = _host(print_N)
    order = np.argsort(prints_N, kind="stable")
    near = np.diff(prints_N[order]) <= ALIKE * prints_N[order][1:]
    first_N = np.ones(pieces.rows, dtype=bool)
    for group in np.split(order, np.flatnonzero(~near) + 1):
        known: list[int] = []
        for row in np.sort(group).tolist() if group.size > 1 else []:
            first_N[row] = not any(_equal(pieces, row, other) for other in known)
            if first_N[row]:
                known.append(row)
    return first_N


def _equal(pieces: Pieces, row: int, other: int) -> bool:
    return all(torch.equal(piece[0], piece[1]) for piece in pieces.select(np.array([row, other])))


def _start(pieces: Pieces) -> Array:
    """The weights of a thinner fit, or all weight on the best row."""
    if pieces.events >= THIN * THIN_EVENTS and pieces.rows > THIN:
        return fit_pieces(pieces.thin(THIN), tolerance=THIN_TOLERANCE).weights_N
    total_N: Tensor | float = 0.0
    for piece in pieces:
        total_N = total_N + piece.log().sum(dim=1)
    weights_N = np.zeros(pieces.rows)
    weights_N[_host(total_N).argmax()] = 1.0
    return weights_N


def _entrants(weights_N: Array, ratio_N: Array) -> NDArray[np.intp]:
    entrants = np.flatnonzero((weights_N == 0) & (ratio_N > 1))
    return entrants[np.argsort(-ratio_N[entrants], kind="stable")[:ENTRANTS]]


def _polish(pieces: Pieces, weights_K: Array, goal: float, limit: int) -> tuple[Array, int]:
    """Newton steps on few rows until none exceeds by more than the goal; a step that gains nothing is replaced by a
    multiplicative one (EM), which cannot lose.
    """
    for step in range(limit):
        p = [_on(piece, weights_K) @ piece for piece in pieces]
        ratio_K, hessian_KK = _model(pieces, p)
        if ratio_K.max() - 1.0 <= goal:
            return weights_K, step
        hessian_KK[np.diag_indices_from(hessian_KK)] += RIDGE * np.trace(hessian_KK) / ratio_K.size
        direction = minimise_nonnegative(hessian_KK, 2.0 * ratio_K - 1.0, weights_K) - weights_K
        change = [_on(piece, direction) @ piece / p_m for piece, p_m in zip(pieces, p, strict=True)]
        length = _step_length(direction, change, float((ratio_K - 1.0) @ direction))
        if length > 0:
            weights_K = np.maximum(weights_K + length * direction, 0.0)
        else:
            weights_K = np.where(weights_K > 0, weights_K * ratio_K, ENTRY)
        weights_K = weights_K / weights_K.sum()
    return weights_K, limit


def _model(pieces: Pieces, p: list[Tensor]) -> tuple[Array, Array]:
    """E[p_j/p] [K], and the Hessian [K, K] of −E[ln(y·R)]: E[p_i p_j / p²]."""
    ratio_K: Tensor | float = 0.0
    hessian_KK: Tensor | float = 0.0
    for piece, p_m in zip(pieces, p, strict=True):
        scaled_Km = piece / p_m
        ratio_K = ratio_K + scaled_Km.sum(dim=1)
        hessian_KK = hessian_KK + scaled_Km @ scaled_Km.T
    return _host(ratio_K) / pieces.events, _host(hessian_KK) / pieces.events


def _step_length(direction: Array, change: list[Tensor], slope: float) -> float:
    """The longest of 1, ½, ¼… that gains (Armijo), 0 if none does; `change` is the step's change of p in parts of p."""
    events = sum(part.numel() for part in change)
    for length in (0.5**halvings for halvings in range(24)):
        if all(bool(part.min() * length > -1.0) for part in change):
            logs = sum(float(torch.log1p(part * length).sum()) for part in change)
            gained = logs / events - np.log1p(length * direction.sum())
            if gained > 0 and gained >= 1e-4 * length * slope:
                return length
    return 0.0


def minimise_nonnegative(hessian_KK: Array, linear_K: Array, start_K: Array) -> Array:
    """Minimiser of ½ y'Hy − c'y over y ≥ 0 for a positive definite H (Lawson and Hanson's active set)."""
    y_K = start_K.copy()
    free_K = y_K > 0
    for _ in range(4 * len(y_K) + 8):
        while free_K.any():
            solved = np.linalg.solve(hessian_KK[np.ix_(free_K, free_K)], linear_K[free_K])
            if solved.min() > 0:
                y_K[free_K] = solved
                break
            current = y_K[free_K]
            falling, way = solved <= 0, current - solved
            reach = np.where(falling, current / np.where(falling & (way > 0), way, 1.0), np.inf)
            moved = np.maximum(current + reach.min() * (solved - current), 0.0)
            moved[reach.argmin()] = 0.0
            y_K[free_K] = moved
            free_K = y_K > 0
        pull_K = np.where(free_K, -np.inf, linear_K - hessian_KK @ y_K)
        entrant = int(pull_K.argmax())
        if not pull_K[entrant] > 1e-13:
            break
        free_K[entrant] = True
    return y_K


def _on(piece: Tensor, vector: Array) -> Tensor:
    return torch.tensor(vector, dtype=torch.float64, device=piece.device)


def _host(total: Tensor | float) -> Array:
    assert isinstance(total, Tensor)
    return total.cpu().numpy()

"""The mixture whose weights maximise the mean log-probability of the events, with a certificate of optimality.

Invariants: weights are non-negative and sum to 1; of identical rows only the first carries weight; the result depends
on log-probabilities only through differences within an event; max_j E[p_j/p] − 1 bounds the nats missing to the best.

Legend: N rows (model versions), M events, K rows of the support.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.errors import RoundError

Array = NDArray[np.float64]

FLOOR = 1e-12
"""A row's probability of an event is at least this part of the largest row's, so a miss costs at most 40 bits."""
TOLERANCE = 1e-6
"""The certificate that a fit must reach: no row could add more than this many nats per event."""
ENTRANTS = 8
"""Rows that may join the support in one step; more only makes the quadratic problem larger."""
MAXIMUM_STEPS = 500
"""Newton needs 5 to 30; the rest is room for multiplicative steps on ill-conditioned rounds."""
RIDGE = 1e-12
"""Part of the Hessian's mean diagonal that is added to it, for rows that are nearly equal."""
ENTRY = 1e-6
"""The weight with which a row enters by a multiplicative step, which cannot raise a weight from 0."""


@dataclass(frozen=True)
class Fit:
    """Weights of a mixture, the certificate max_j E[p_j/p] − 1 that they reach, and the steps it took."""

    weights_N: Array
    certificate: float
    iterations: int


def relative_probability(log_probability_NM: Array) -> tuple[Array, Array]:
    """Probabilities [N, M] as parts of each event's largest one (at least FLOOR), and the log of the largest [M].

    Raises RoundError where no row gives an event any probability.
    """
    top_M = log_probability_NM.max(axis=0)
    hopeless = np.flatnonzero(~(top_M > -np.inf))
    if hopeless.size:
        raise RoundError(
            f"no row gives probability to event {hopeless[0]} ({hopeless.size} such of {top_M.size}): "
            "include the baseline, which gives every byte some"
        )
    relative_NM = log_probability_NM - top_M
    np.exp(relative_NM, out=relative_NM)
    np.maximum(relative_NM, FLOOR, out=relative_NM)
    return relative_NM, top_M


def mixture_log_probability(weights_N: Array, log_probability_NM: Array) -> Array:
    """ln of the mixture's probability of each event, [M]."""
    relative_NM, top_M = relative_probability(log_probability_NM)
    return np.log(weights_N @ relative_NM) + top_M


def certificate(weights_N: Array, log_probability_NM: Array) -> float:
    """max_j E[p_j/p] − 1 of given weights: 0 at the optimum, else no less than the nats per event missing to it."""
    relative_NM, _ = relative_probability(log_probability_NM)
    return _excess(relative_NM, weights_N @ relative_NM)[1]


def fit_mixture(log_probability_NM: Array, *, start: Array | None = None, tolerance: float = TOLERANCE) -> Fit:
    """Weights [N] that maximise E[ln Σ_j w_j p_j], from natural log-probabilities (−inf allowed).

    A constrained Newton method (Wang 2007, JRSS B 69:185, with the relaxation of Kim et al. 2020, JCGS 29:261): rows
    with E[p_j/p] > 1 join the support, a non-negative quadratic problem gives the step, rows at 0 leave. A step that
    gains nothing is replaced by a multiplicative one (EM), which cannot lose. `start` that already reaches the
    tolerance is returned as it is. Raises RoundError for an event to which no row gives probability.
    """
    relative_NM, _ = relative_probability(log_probability_NM)
    kept_K = _first_of_identical(relative_NM)
    if kept_K.size < relative_NM.shape[0]:
        relative_NM = relative_NM[kept_K]
    weights_K = _start(relative_NM, None if start is None else start[kept_K])
    iterations = 0
    while True:
        p_M = weights_K @ relative_NM
        ratio_K, excess = _excess(relative_NM, p_M)
        if excess <= tolerance or iterations == MAXIMUM_STEPS:
            break
        weights_K = _step(relative_NM, weights_K, p_M, ratio_K)
        iterations += 1
    weights_N = np.zeros(log_probability_NM.shape[0])
    weights_N[kept_K] = weights_K
    return Fit(weights_N, excess, iterations)


def _first_of_identical(relative_NM: Array) -> NDArray[np.intp]:
    first: dict[bytes, int] = {}
    for index, row_M in enumerate(relative_NM):
        first.setdefault(row_M.tobytes(), index)
    return np.fromiter(first.values(), dtype=np.intp)


def _start(relative_KM: Array, start_K: Array | None) -> Array:
    weights_K = np.zeros(len(relative_KM))
    if start_K is None:
        weights_K[np.log(relative_KM).mean(axis=1).argmax()] = 1.0
    else:
        weights_K += start_K / start_K.sum()
    return weights_K


def _excess(relative_KM: Array, p_M: Array) -> tuple[Array, float]:
    ratio_K: Array = relative_KM @ (1.0 / p_M) / p_M.size
    return ratio_K, float(ratio_K.max()) - 1.0


def _step(relative_KM: Array, weights_K: Array, p_M: Array, ratio_K: Array) -> Array:
    entrants = np.flatnonzero((weights_K == 0) & (ratio_K > 1))
    if entrants.size > ENTRANTS:
        entrants = entrants[np.argsort(-ratio_K[entrants], kind="stable")[:ENTRANTS]]
    support = np.union1d(np.flatnonzero(weights_K), entrants)
    scaled_M = relative_KM[support] / p_M
    direction = _newton_target(scaled_M, weights_K[support]) - weights_K[support]
    length = _step_length(direction, direction @ scaled_M, float((ratio_K[support] - 1.0) @ direction))
    if length > 0:
        stepped = np.zeros_like(weights_K)
        stepped[support] = np.maximum(weights_K[support] + length * direction, 0.0)
    else:
        stepped = weights_K * ratio_K
        stepped[entrants] = ENTRY
    whole: Array = stepped / stepped.sum()
    return whole


def _step_length(direction: Array, change_M: Array, slope: float) -> float:
    """The longest of 1, ½, ¼… that gains (Armijo), 0 if none does; change_M is the step's change of p in parts of p."""
    for length in 0.5 ** np.arange(24):
        moved_M = 1.0 + length * change_M
        if moved_M.min() > 0:
            gained = np.log(moved_M).mean() - np.log1p(length * direction.sum())
            if gained > 0 and gained >= 1e-4 * length * slope:
                return float(length)
    return 0.0


def _newton_target(scaled_KM: Array, weights_K: Array) -> Array:
    """Minimiser over y ≥ 0 of the second-order model of −E[ln(y·R)] + Σy around the weights; scaled_KM = p_j/p."""
    hessian_KK = scaled_KM @ scaled_KM.T / scaled_KM.shape[1]
    linear_K = 2.0 * scaled_KM.mean(axis=1) - 1.0
    hessian_KK[np.diag_indices_from(hessian_KK)] += RIDGE * np.trace(hessian_KK) / len(weights_K)
    return minimise_nonnegative(hessian_KK, linear_K, weights_K)


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

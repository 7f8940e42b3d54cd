"""The minimiser of a small quadratic function over what is not negative.

Invariants: the conditions of a minimum hold up to rounding, whatever the way there.

Legend: K numbers.
"""

import numpy as np

from models.value.events import Array

EXCHANGES = 10
"""Whole sets of numbers that become free or 0 at once; 2 to 4 nearly always settle it. One after the other takes a
solution for each."""
PULL = 1e-13
"""Below this a slope is rounding."""


def minimise_nonnegative(hessian_KK: Array, linear_K: Array, start_K: Array) -> Array:
    """Minimiser of ½ y'Hy − c'y over y ≥ 0 for a positive definite H."""
    free_K = (start_K > 0) | (linear_K - hessian_KK @ start_K > PULL)
    for _ in range(EXCHANGES):
        y_K = np.zeros(free_K.size)
        y_K[free_K] = np.linalg.solve(hessian_KK[np.ix_(free_K, free_K)], linear_K[free_K])
        wrong_K = np.where(free_K, y_K <= 0, linear_K - hessian_KK @ y_K > PULL)
        if not wrong_K.any():
            return y_K
        free_K ^= wrong_K
    return _one_by_one(hessian_KK, linear_K, start_K)


def _one_by_one(hessian_KK: Array, linear_K: Array, start_K: Array) -> Array:
    """Lawson and Hanson's active set, which always ends."""
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
        if not pull_K[entrant] > PULL:
            break
        free_K[entrant] = True
    return y_K

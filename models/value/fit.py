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

from models.value.events import Array, make_events
from models.value.newton import on_device, polish, zeros
from models.value.pieces import Pieces
from models.value.products import each_over_events
from models.value.table import Table

TOLERANCE = 1e-6
"""The certificate that a fit must reach: no row could add more than this many nats per event."""
ENTRANTS = 32
"""Rows that may join the support at once; more only makes the quadratic problem larger."""
MAXIMUM_STEPS = 500
"""Newton needs 3 to 30; the rest is room for multiplicative steps on ill-conditioned rounds."""
POLISH = 0.1
"""Where more rows wait, a support is solved to this part of what they exceed it by, then all are looked at again."""
FINE = 1e-12
"""A support that may be the last is solved to this: two fits of the same rows then give the same values to 9 digits,
and a step near the end costs little."""
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
    as it is; without it, who begins is found by a pass at equal weights.
    """
    ratio_N = ratios(pieces, np.full(pieces.rows, 1.0 / pieces.rows))  # which tells rows apart too
    first_N = _first_of_identical(pieces, ratio_N)
    weights_N = _best_rows(np.where(first_N, ratio_N, 0.0)) if start is None else start / start.sum()
    if start is not None:
        if (weights_N[~first_N] > 0).any():
            weights_N = np.where(first_N, weights_N, 0.0)
            weights_N = weights_N / weights_N.sum() if weights_N.any() else np.eye(pieces.rows)[0]
        ratio_N = ratios(pieces, weights_N)
    iterations, looked = 0, start is not None
    while True:
        above = float(ratio_N[first_N].max()) - 1.0
        if looked and (above <= tolerance or iterations >= MAXIMUM_STEPS):
            return Fit(weights_N, above, iterations)
        entrants = np.flatnonzero(first_N & (weights_N == 0) & (ratio_N > 1))
        goal = POLISH * above if entrants.size > ENTRANTS else FINE
        chosen = entrants[np.argsort(-ratio_N[entrants], kind="stable")[:ENTRANTS]]
        support = np.union1d(np.flatnonzero(weights_N), chosen)
        left = MAXIMUM_STEPS - iterations
        weights_K, steps = polish(pieces.select(support), weights_N[support], goal, tolerance / 2, left)
        weights_N = np.zeros(pieces.rows)
        weights_N[support] = weights_K
        iterations += max(steps, 1)
        ratio_N, looked = ratios(pieces, weights_N), True


def _best_rows(ratio_N: Array) -> Array:
    """Weights after one multiplicative step (EM) from equal ones, of the best rows alone.

    What it begins with was tried: from a fit of every eighth event, whose support is another one, or from the best row
    alone, the fit of 256 rows takes as many Hessians or more, and a pass or two.
    """
    weights_N = np.zeros(ratio_N.size)
    best = np.argsort(-ratio_N, kind="stable")[:ENTRANTS]
    weights_N[best] = ratio_N[best] / ratio_N[best].sum()
    return weights_N


def excess(pieces: Pieces, weights_N: Array) -> float:
    """max_j E[p_j/p] − 1 of rows in pieces."""
    return float(ratios(pieces, weights_N).max()) - 1.0


def ratios(pieces: Pieces, weights_N: Array) -> Array:
    """E[p_j/p] of every row [N]."""
    weights, total_N = on_device(pieces, weights_N), zeros(pieces, pieces.rows)
    for piece in pieces:
        total_N += each_over_events(piece, (weights @ piece).reciprocal_())
    return total_N.cpu().numpy() / pieces.events


def _first_of_identical(pieces: Pieces, print_N: Array) -> NDArray[np.bool_]:
    """Which rows are not equal to one before them: of nearly the same fingerprint those are compared event by event."""
    order = np.argsort(print_N, kind="stable")
    near = np.diff(print_N[order]) <= ALIKE * print_N[order][1:]
    first_N = np.ones(pieces.rows, dtype=bool)
    for group in np.split(order, np.flatnonzero(~near) + 1):
        known: list[int] = []
        for row in np.sort(group).tolist() if group.size > 1 else []:
            first_N[row] = not any(_equal(pieces, other, row) for other in known)
            if first_N[row]:
                known.append(row)
    return first_N


def _equal(pieces: Pieces, row: int, other: int) -> bool:
    return all(torch.equal(piece[0], piece[1]) for piece in pieces.select(np.array([row, other])))

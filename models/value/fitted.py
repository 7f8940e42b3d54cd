"""The weights of a round: of what the collective knew (q), of each trial, and of the new collective (p).

Invariants: every version is tried alone on top of q; only admitted versions share in p; q itself does not move between
its fit and p, so that what p adds is the new versions' alone.

Legend: F 2 folds (that the weights were fitted on), S strata, R members, T tried, A admitted, B = A + 1, M events.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.cells import Cell
from models.value.fit import certificate, fit_mixture, mixture_log_probability
from models.value.round import Array, Round

KNOWN_TOLERANCE = 1e-9
"""q is fitted more finely than the certificate asks, so that a copy of a member cannot gain from what was left over."""


@dataclass(frozen=True)
class Fitted:
    """Row indices, and weights by fitted fold and stratum. p's column 0 is the weight of q as a whole."""

    member_R: NDArray[np.intp]
    trial_T: NDArray[np.intp]
    admitted_A: NDArray[np.intp]
    q_FSR: Array
    trial_FST: Array
    p_FSB: Array


def fit_known(round_: Round, cells: Sequence[Cell]) -> Array:
    """Weights [2, S, R] of the old collective, fitted to this epoch's text."""
    rows_R = round_.member_rows
    q_FSR = np.zeros((2, len(round_.strata), rows_R.size))
    for cell in cells:
        log_probability_RM = round_.log_probability_NM[np.ix_(rows_R, cell.fit_M)]
        q_FSR[cell.fold, list(cell.strata)] = fit_mixture(log_probability_RM, tolerance=KNOWN_TOLERANCE).weights_N
    return q_FSR


def fit_trials(round_: Round, cells: Sequence[Cell], q_FSR: Array) -> Array:
    """Weights [2, S, T] of each new version, alone on top of q."""
    rows_T = round_.new_rows
    trial_FST = np.zeros((2, len(round_.strata), rows_T.size))
    for cell in cells:
        known_M = _known_on_fit(round_, cell, q_FSR)
        for column, row in enumerate(rows_T):
            weights = _on_top(round_, cell, known_M, np.array([row]))
            trial_FST[cell.fold, list(cell.strata), column] = weights[1]
    return trial_FST


def fit_admitted(round_: Round, cells: Sequence[Cell], q_FSR: Array, admitted_A: NDArray[np.intp]) -> Array:
    """Weights [2, S, 1 + A] of q and the admitted versions together."""
    p_FSB = np.zeros((2, len(round_.strata), 1 + admitted_A.size))
    for cell in cells:
        known_M = _known_on_fit(round_, cell, q_FSR)
        p_FSB[cell.fold, list(cell.strata)] = _on_top(round_, cell, known_M, admitted_A)
    return p_FSB


def _known_on_fit(round_: Round, cell: Cell, q_FSR: Array) -> Array:
    """ln q on the events that the cell is fitted on."""
    log_probability_RM = round_.log_probability_NM[np.ix_(round_.member_rows, cell.fit_M)]
    return mixture_log_probability(q_FSR[cell.fold, cell.strata[0]], log_probability_RM)


def largest_certificate(round_: Round, cells: Sequence[Cell], fitted: Fitted) -> float:
    """The largest max_j E[p_j/p] − 1 over all fits of the round, from the weights: at most 1e-6 if they are honest."""
    largest = 0.0
    for cell in cells:
        log_probability_NM = round_.log_probability_NM[:, cell.fit_M]
        log_probability_RM = log_probability_NM[fitted.member_R]
        for stratum in cell.strata:
            q_R = fitted.q_FSR[cell.fold, stratum]
            known_M = mixture_log_probability(q_R, log_probability_RM)
            largest = max(largest, certificate(q_R, log_probability_RM))
            for row, weight in zip(fitted.trial_T, fitted.trial_FST[cell.fold, stratum], strict=True):
                pair = np.stack([known_M, log_probability_NM[row]])
                largest = max(largest, certificate(np.array([1.0 - weight, weight]), pair))
            both = np.vstack([known_M, log_probability_NM[fitted.admitted_A]])
            largest = max(largest, certificate(fitted.p_FSB[cell.fold, stratum], both))
    return largest


def _on_top(round_: Round, cell: Cell, known_M: Array, rows: NDArray[np.intp]) -> Array:
    start = np.zeros(1 + rows.size)
    start[0] = 1.0
    log_probability = np.vstack([known_M, round_.log_probability_NM[np.ix_(rows, cell.fit_M)]])
    return fit_mixture(log_probability, start=start).weights_N

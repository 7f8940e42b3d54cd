"""The weights of a round: of what the collective knew (q), of each trial, and of the new collective (p).

Invariants: every version is tried alone on top of q; only admitted versions share in p; q itself does not move between
its fit and p, so that what p adds is the new versions' alone.

Legend: F 2 folds (that the weights were fitted on), S strata, R members, T tried, A admitted, B = A + 1, M events.
"""

import numpy as np
import torch
from torch import Tensor

from models.value.bits import add_path, used_spans
from models.value.cells import Cell, Span, out_of_fold_cells
from models.value.events import Array, per_byte
from models.value.fit import TOLERANCE, excess, fit_pieces
from models.value.table import PIECE, Index, Table
from models.value.values import Fitted, Values

KNOWN_TOLERANCE = 1e-9
"""q is fitted more finely than the certificate asks, so that a copy of a member cannot gain from what was left over."""
ADMISSION_ERRORS = 3.0
"""A version is admitted if its gain out of fold exceeds so many standard errors."""
BISECTIONS = 200
"""Newton needs 3 to 10 steps for one weight; bisection alone would need 50."""


def fit_new(table: Table, member_R: Index, new_T: Index) -> Fitted:
    """All weights: q of the members, the trials on top of it, and p over q and what the trials admitted."""
    q_FSR = fit_known(table, member_R)
    trial_FST = fit_trials(table, member_R, q_FSR, new_T)
    gain_T, gain_se_T = per_byte(
        table.events, trial_sums(table, known_out_of_fold(table, member_R, q_FSR), new_T, trial_FST)
    )
    admitted_A = admit(new_T, gain_T, gain_se_T)
    return Fitted(member_R, new_T, admitted_A, q_FSR, trial_FST, fit_admitted(table, member_R, q_FSR, admitted_A))


def admit(new_T: Index, gain_T: Array, gain_se_T: Array) -> Index:
    """Rows whose gain exceeds ADMISSION_ERRORS standard errors, as they were published."""
    return new_T[gain_T > ADMISSION_ERRORS * gain_se_T]


def fit_known(table: Table, rows_R: Index, tolerance: float = KNOWN_TOLERANCE, start_FSR: Array | None = None) -> Array:
    """Weights [2, S, R] of a flat mixture of rows, by cell."""
    q_FSR = np.zeros((2, table.events.strata, rows_R.size))
    for cell in out_of_fold_cells(table.events):
        start = None if start_FSR is None else start_FSR[cell.fold, cell.strata[0]]
        fit = fit_pieces(table.pieces(cell.fit, rows_R), start=start, tolerance=tolerance)
        q_FSR[cell.fold, list(cell.strata)] = fit.weights_N
    return q_FSR


def fit_trials(table: Table, member_R: Index, q_FSR: Array, new_T: Index) -> Array:
    """Weights [2, S, T] of each new version, alone on top of q."""
    trial_FST = np.zeros((2, table.events.strata, new_T.size))
    for cell in out_of_fold_cells(table.events):
        known_M = _known_on_fit(table, cell, member_R, q_FSR)
        trial_FST[cell.fold, list(cell.strata)] = fit_beside(table, cell.fit, known_M, new_T)
    return trial_FST


def fit_beside(table: Table, spans: tuple[Span, ...], known_M: Tensor, rows_T: Index) -> Array:
    """The best weight [T] of each row in a mixture of it and the known, certified to TOLERANCE; 0 if 0 already is."""
    known = torch.cat([known_M[begin:end] for begin, end in spans])
    group = max(1, PIECE // known.numel())
    weights_T = np.zeros(rows_T.size)
    for first in range(0, rows_T.size, group):
        rows = rows_T[first : first + group]
        apart = torch.cat([piece for _, _, piece in table.walk(spans, rows)], dim=1).div_(known).sub_(1.0)
        weights_T[first : first + group] = _best_weights(apart).cpu().numpy()
    return weights_T


def _best_weights(apart_TM: Tensor) -> Tensor:
    """Maximiser [T] over 0 ≤ w ≤ 1 of E[ln(1 + w x)], x = p_j/q − 1, by Newton's method within a shrinking bracket."""
    low = torch.zeros(len(apart_TM), dtype=apart_TM.dtype, device=apart_TM.device)
    high, weight = torch.ones_like(low), torch.zeros_like(low)
    for _ in range(BISECTIONS):
        part_TM = apart_TM / (1.0 + weight[:, None] * apart_TM)
        slope, curve = part_TM.mean(dim=1), part_TM.square_().mean(dim=1)
        done = torch.maximum(-weight * slope, (1.0 - weight) * slope) <= TOLERANCE
        if bool(done.all()):
            break
        low, high = torch.where(slope > 0, weight, low), torch.where(slope > 0, high, weight)
        newton = weight + slope / curve
        inside = (newton > low) & (newton < high)
        step = torch.where(inside, newton, torch.where((newton >= 1.0) & (high == 1.0), high, 0.5 * (low + high)))
        weight = torch.where(done, weight, step)
    return weight


def fit_admitted(table: Table, member_R: Index, q_FSR: Array, admitted_A: Index) -> Array:
    """Weights [2, S, 1 + A] of q and the admitted versions together."""
    p_FSB = np.zeros((2, table.events.strata, 1 + admitted_A.size))
    p_FSB[:, :, 0] = 1.0
    for cell in out_of_fold_cells(table.events) if admitted_A.size else ():
        pieces = table.pieces(cell.fit, admitted_A, _known_on_fit(table, cell, member_R, q_FSR))
        fit = fit_pieces(pieces, start=np.eye(1 + admitted_A.size)[0])
        p_FSB[cell.fold, list(cell.strata)] = fit.weights_N
    return p_FSB


def known_out_of_fold(table: Table, member_R: Index, q_FSR: Array) -> Tensor:
    """Relative probability of q at every event [M], with weights of the other fold."""
    known_M = torch.zeros(table.size, dtype=torch.float64, device=table.device)
    for fold, stratum, (begin, end) in used_spans(table.events):
        known_M[begin:end] = table.mixture(q_FSR[fold, stratum], member_R, [(begin, end)])[begin:end]
    return known_M


def trial_sums(table: Table, known_M: Tensor, new_T: Index, trial_FST: Array) -> Array:
    """Bits by block [T, D] that each new version gains alone on top of q."""
    sums_TD = np.zeros((new_T.size, table.events.blocks))
    for column, row in enumerate(new_T):
        for fold, stratum, span in used_spans(table.events):
            gain_2D = np.zeros((2, table.events.blocks))
            add_path(gain_2D, table, [span], trial_FST[fold, stratum, column : column + 1], np.array([row]), known_M)
            sums_TD[column] += gain_2D[0]
    return sums_TD


def compute_values(table: Table, fitted: Fitted, bits_per_byte_N: Array) -> Values:
    """Everything in bits per byte, from given weights and each row's own bits per byte; nothing is fitted here."""
    events, admitted_A = table.events, fitted.admitted_A
    known_M = known_out_of_fold(table, fitted.member_R, fitted.q_FSR)
    paid_K = np.concatenate([fitted.member_R, admitted_A])
    known_2D = np.zeros((1 + fitted.member_R.size, events.blocks))
    share_KD = np.zeros((1 + paid_K.size, events.blocks))
    for fold, stratum, span in used_spans(events):
        q_R, p_B = fitted.q_FSR[fold, stratum], fitted.p_FSB[fold, stratum]
        add_path(known_2D, table, [span], q_R, fitted.member_R)
        add_path(share_KD, table, [span], np.concatenate([p_B[0] * q_R, p_B[1:]]), paid_K)
    trial_gain_T, trial_gain_se_T = per_byte(events, trial_sums(table, known_M, fitted.trial_T, fitted.trial_FST))
    new_B, new_se_B = per_byte(events, new_sums(table, fitted, known_M))
    share_bits_N = np.zeros(table.rows)
    np.add.at(share_bits_N, paid_K, per_byte(events, share_KD)[0][1:])
    known = float(bits_per_byte_N[0] - per_byte(events, known_2D[:1])[0][0])
    return Values(
        gain=float(new_B[0]),
        gain_se=float(new_se_B[0]),
        baseline_bits_per_byte=float(bits_per_byte_N[0]),
        known_bits_per_byte=known,
        collective_bits_per_byte=known - float(new_B[0]),
        bits_per_byte_N=bits_per_byte_N,
        trial_gain_T=trial_gain_T,
        trial_gain_se_T=trial_gain_se_T,
        new_bits_A=new_B[1:],
        new_bits_se_A=new_se_B[1:],
        share_bits_N=share_bits_N,
    )


def new_sums(table: Table, fitted: Fitted, known_M: Tensor) -> Array:
    """Bits by block [1 + A, D] of the path from q to p: the gain, and each admitted version's part."""
    sums_BD = np.zeros((1 + fitted.admitted_A.size, table.events.blocks))
    for fold, stratum, span in used_spans(table.events):
        add_path(sums_BD, table, [span], fitted.p_FSB[fold, stratum, 1:], fitted.admitted_A, known_M)
    return sums_BD


def largest_certificate(table: Table, fitted: Fitted) -> float:
    """The largest max_j E[p_j/p] − 1 over all fits of the round, from the weights: at most 1e-6 if they are honest."""
    largest = 0.0
    for cell in out_of_fold_cells(table.events):
        members = table.pieces(cell.fit, fitted.member_R)
        for stratum in cell.strata:
            q_R = fitted.q_FSR[cell.fold, stratum]
            known_M = table.mixture(q_R, fitted.member_R, cell.fit)
            largest = max(largest, excess(members, q_R))
            for row, weight in zip(fitted.trial_T, fitted.trial_FST[cell.fold, stratum], strict=True):
                pair = table.pieces(cell.fit, np.array([row]), known_M)
                largest = max(largest, excess(pair, np.array([1.0 - weight, weight])))
            both = table.pieces(cell.fit, fitted.admitted_A, known_M)
            largest = max(largest, excess(both, fitted.p_FSB[cell.fold, stratum]))
    return largest


def _known_on_fit(table: Table, cell: Cell, member_R: Index, q_FSR: Array) -> Tensor:
    """Relative probability of q at the events that the cell is fitted on."""
    return table.mixture(q_FSR[cell.fold, cell.strata[0]], member_R, cell.fit)

"""The weights of a round: of what is known (q), of each trial, and of the new collective (p).

Invariants: every version is tried alone on top of q; only admitted versions share in p; q itself does not move between
its fit and p, so that what p adds is the new versions' alone.

Legend: F 2 folds (that the weights were fitted on), S strata, R members and remote peers, P remote peers, T tried, A
admitted, B = A + 1, M events.
"""

from dataclasses import replace
from math import log

import numpy as np
import torch
from torch import Tensor

from models.value.bits import add_path, used_spans
from models.value.cells import Cell, Span, out_of_fold_cells
from models.value.chain import fit_chain, known_out_of_fold, remote_gains
from models.value.events import Array, per_byte
from models.value.fit import TOLERANCE, excess, fit_pieces
from models.value.pieces import Index
from models.value.table import Table
from models.value.values import ADMISSION_ERRORS, Fitted, Values

BISECTIONS = 200
"""Newton needs 3 to 10 steps for one weight; bisection alone would need 50."""


def fit_new(table: Table, member_R: Index, new_T: Index, remote_P: Index | None = None) -> Fitted:
    """All weights: of what is known, the trials on top of it, and p over q and what the trials admitted."""
    remote_P = np.zeros(0, dtype=np.intp) if remote_P is None else remote_P
    chain_KFSR, kept_P = fit_chain(table, member_R, remote_P)
    known_R = np.concatenate([member_R, remote_P])
    none_FST = np.zeros((2, table.events.strata, 0))
    known = Fitted(known_R, kept_P, chain_KFSR, new_T, new_T[:0], none_FST, none_FST)
    q_FSR = known.q_FSR
    trial_FST = fit_trials(table, known_R, q_FSR, new_T)
    gain_T, gain_se_T = per_byte(
        table.events, trial_sums(table, known_out_of_fold(table, known_R, q_FSR), new_T, trial_FST)
    )
    admitted_A = admit(new_T, gain_T, gain_se_T)
    p_FSB = fit_admitted(table, known_R, q_FSR, admitted_A)
    return replace(known, admitted_A=admitted_A, trial_FST=trial_FST, p_FSB=p_FSB)


def admit(new_T: Index, gain_T: Array, gain_se_T: Array) -> Index:
    """Rows whose gain exceeds ADMISSION_ERRORS standard errors, as they were published."""
    return new_T[gain_T > ADMISSION_ERRORS * gain_se_T]


def fit_trials(table: Table, known_R: Index, q_FSR: Array, new_T: Index) -> Array:
    """Weights [2, S, T] of each new version, alone on top of q."""
    trial_FST = np.zeros((2, table.events.strata, new_T.size))
    for cell in out_of_fold_cells(table.events):
        known_M = _known_on_fit(table, cell, known_R, q_FSR)
        trial_FST[cell.fold, list(cell.strata)] = fit_beside(table, cell.fit, known_M, new_T)
    return trial_FST


def fit_beside(table: Table, spans: tuple[Span, ...], known_M: Tensor, rows_T: Index) -> Array:
    """The best weight [T] of each row in a mixture of it and the known, certified to TOLERANCE; 0 if 0 already is."""
    known = torch.cat([known_M[begin:end] for begin, end in spans])
    group = max(1, table.piece // known.numel())
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


def fit_admitted(table: Table, known_R: Index, q_FSR: Array, admitted_A: Index) -> Array:
    """Weights [2, S, 1 + A] of q and the admitted versions together."""
    p_FSB = np.zeros((2, table.events.strata, 1 + admitted_A.size))
    p_FSB[:, :, 0] = 1.0
    for cell in out_of_fold_cells(table.events) if admitted_A.size else ():
        pieces = table.pieces(cell.fit, admitted_A, _known_on_fit(table, cell, known_R, q_FSR))
        fit = fit_pieces(pieces, start=np.eye(1 + admitted_A.size)[0])
        p_FSB[cell.fold, list(cell.strata)] = fit.weights_N
    return p_FSB


def trial_sums(table: Table, known_M: Tensor, new_T: Index, trial_FST: Array) -> Array:
    """Bits by block [T, D] that each new version gains alone on top of q."""
    sums_TD = table.blocks.zeros(new_T.size)
    for fold, stratum, span in used_spans(table.events):
        weights = torch.tensor(trial_FST[fold, stratum], dtype=torch.float64, device=table.device)
        for begin, end, piece in table.walk([span], new_T) if new_T.size else ():
            apart = piece.div_(known_M[begin:end]).sub_(1.0)
            bits = apart.mul_(weights[:, None]).log1p_()
            table.blocks.add(sums_TD, begin, bits, torch.full_like(bits[0], 1.0 / log(2.0)))
    return table.blocks.numbered(sums_TD)


def compute_values(table: Table, fitted: Fitted, bits_per_byte_N: Array) -> Values:
    """Everything in bits per byte, from given weights and each row's own bits per byte; nothing is fitted here."""
    events, known_R, q_FSR, admitted_A = table.events, fitted.known_R, fitted.q_FSR, fitted.admitted_A
    known_M = known_out_of_fold(table, known_R, q_FSR)
    paid_K = np.concatenate([known_R, admitted_A])
    known_2D = np.zeros((1 + known_R.size, events.blocks))
    share_KD = np.zeros((1 + paid_K.size, events.blocks))
    for fold, stratum, span in used_spans(events):
        q_R, p_B = q_FSR[fold, stratum], fitted.p_FSB[fold, stratum]
        add_path(known_2D, table, [span], q_R, known_R)
        add_path(share_KD, table, [span], np.concatenate([p_B[0] * q_R, p_B[1:]]), paid_K)
    trial_gain_T, trial_gain_se_T = per_byte(events, trial_sums(table, known_M, fitted.trial_T, fitted.trial_FST))
    remote_gain_P, remote_gain_se_P = remote_gains(table, fitted)
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
        remote_gain_P=remote_gain_P,
        remote_gain_se_P=remote_gain_se_P,
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
        for stratum in cell.strata:
            for link, q_FSR in enumerate(fitted.chain_KFSR):
                inside = fitted.in_link(link)
                members = table.pieces(cell.fit, fitted.known_R[inside])
                largest = max(largest, excess(members, q_FSR[cell.fold, stratum, inside]))
            known_M = table.mixture(fitted.q_FSR[cell.fold, stratum], fitted.known_R, cell.fit)
            for row, weight in zip(fitted.trial_T, fitted.trial_FST[cell.fold, stratum], strict=True):
                pair = table.pieces(cell.fit, np.array([row]), known_M)
                largest = max(largest, excess(pair, np.array([1.0 - weight, weight])))
            both = table.pieces(cell.fit, fitted.admitted_A, known_M)
            largest = max(largest, excess(both, fitted.p_FSB[cell.fold, stratum]))
    return largest


def _known_on_fit(table: Table, cell: Cell, known_R: Index, q_FSR: Array) -> Tensor:
    """Relative probability of q at the events that the cell is fitted on."""
    return table.mixture(q_FSR[cell.fold, cell.strata[0]], known_R, cell.fit)

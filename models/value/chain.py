"""What is known before anything new is tried: the collective's members, then the remote peers one after another.

Invariants: a remote peer is measured on top of the members and of those remote peers, registered before it, that were
admitted; who is not admitted changes nothing for anybody after it but rounding; gains telescope, so that what two
peers know is paid once.

Legend: F 2 folds (that the weights were fitted on), S strata, R members and remote peers, P remote peers, K = P + 1
links, M events, D blocks.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.value.bits import used_spans
from models.value.cells import out_of_fold_cells
from models.value.events import Array, per_byte
from models.value.fit import TOLERANCE, excess, fit_pieces
from models.value.pieces import Index
from models.value.table import Table
from models.value.values import ADMISSION_ERRORS, Fitted

KNOWN_TOLERANCE = 1e-9
"""q is fitted more finely than the certificate asks, so that a copy of a member cannot gain from what was left over."""


def fit_chain(table: Table, member_R: Index, remote_P: Index) -> tuple[Array, NDArray[np.bool_]]:
    """Weights [K, 2, S, R] of all links as in `Fitted`, and which remote peers were admitted [P]."""
    known_R, members = np.concatenate([member_R, remote_P]), member_R.size
    chain_KFSR = np.zeros((1 + remote_P.size, 2, table.events.strata, known_R.size))
    chain_KFSR[0][:, :, :members] = fit_known(table, member_R)
    kept_P = np.zeros(remote_P.size, dtype=bool)
    base_FSR, inside = chain_KFSR[0], np.arange(members)
    known_M = known_out_of_fold(table, known_R, base_FSR)
    for peer in range(remote_P.size):
        tried = np.append(inside, members + peer)
        link_FSR = chain_KFSR[peer + 1]
        link_FSR[:, :, tried] = _fit_link(table, known_R[tried], base_FSR[:, :, tried])
        link_M = known_out_of_fold(table, known_R, link_FSR)
        gain_1, gain_se_1 = per_byte(table.events, _gain_sums(table, known_M, link_M)[None])
        kept_P[peer] = gain_1[0] > ADMISSION_ERRORS * gain_se_1[0]
        if kept_P[peer]:
            base_FSR, inside, known_M = link_FSR, tried, link_M
    return chain_KFSR, kept_P


def _fit_link(table: Table, rows_R: Index, base_FSR: Array) -> Array:
    """Weights [2, S, R] with one row more than the base has; the base's, to the last bit, in a cell where the row could
    add no more than TOLERANCE: so a copy gains exactly nothing.
    """
    link_FSR = base_FSR.copy()
    for cell in out_of_fold_cells(table.events):
        pieces, start = table.pieces(cell.fit, rows_R), base_FSR[cell.fold, cell.strata[0]]
        if excess(pieces, start) > TOLERANCE:
            fit = fit_pieces(pieces, start=start, tolerance=KNOWN_TOLERANCE)
            link_FSR[cell.fold, list(cell.strata)] = fit.weights_N
    return link_FSR


def fit_known(table: Table, rows_R: Index, tolerance: float = KNOWN_TOLERANCE) -> Array:
    """Weights [2, S, R] of a flat mixture of rows, by cell."""
    return fit_certified(table, rows_R, tolerance)[0]


def fit_certified(table: Table, rows_R: Index, tolerance: float, start_FSR: Array | None = None) -> tuple[Array, float]:
    """Weights [2, S, R] of a flat mixture of rows, by cell, and the largest certificate of them."""
    q_FSR, largest = np.zeros((2, table.events.strata, rows_R.size)), 0.0
    for cell in out_of_fold_cells(table.events):
        start = None if start_FSR is None else start_FSR[cell.fold, cell.strata[0]]
        fit = fit_pieces(table.pieces(cell.fit, rows_R), start=start, tolerance=tolerance)
        q_FSR[cell.fold, list(cell.strata)] = fit.weights_N
        largest = max(largest, fit.certificate)
    return q_FSR, largest


def known_out_of_fold(table: Table, rows_R: Index, q_FSR: Array) -> Tensor:
    """Relative probability of q at every event [M], with weights of the other fold."""
    known_M = torch.zeros(table.size, dtype=torch.float64, device=table.device)
    for fold, stratum, (begin, end) in used_spans(table.events):
        known_M[begin:end] = table.mixture(q_FSR[fold, stratum], rows_R, [(begin, end)])[begin:end]
    return known_M


def remote_gains(table: Table, fitted: Fitted) -> tuple[Array, Array]:
    """Bits per byte [P] that each remote peer adds to what it was tried on, and their errors [P]; nothing is fitted."""
    if not fitted.kept_P.size:
        return np.zeros(0), np.zeros(0)
    known_M, sums_PD = known_out_of_fold(table, fitted.known_R, fitted.chain_KFSR[0]), []
    for q_FSR, kept in zip(fitted.chain_KFSR[1:], fitted.kept_P, strict=True):
        link_M = known_out_of_fold(table, fitted.known_R, q_FSR)
        sums_PD.append(_gain_sums(table, known_M, link_M))
        known_M = link_M if kept else known_M
    return per_byte(table.events, np.stack(sums_PD))


def _gain_sums(table: Table, before_M: Tensor, after_M: Tensor) -> Array:
    """Bits by block [D] from one mixture to another."""
    sums_1D = table.blocks.zeros(1)
    bits_M = after_M.log2() - before_M.log2()
    table.blocks.add(sums_1D, 0, bits_M[None], torch.ones_like(bits_M))
    gain_D: Array = table.blocks.numbered(sums_1D)[0]
    return gain_D

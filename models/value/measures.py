"""How many bits per byte each of some models is worth, by several measures, out of fold and with standard errors.

Invariants: every measure takes natural log-probabilities [rows, events] (−inf allowed) beside a baseline's, and gives
bits per byte; weights are fitted on one fold of documents, certified, and used on the other; an error is by document
within its stratum. Nothing here pays anybody.

What all of them take: log_probability_NM, a NumPy array, memory map, tensor, or what else is sliced by
[rows, first:last], float32 or float64; log_baseline_M, above −inf; stratum_M, block_M (documents), fold_M, bytes_M:
whole numbers by event, where left out one stratum, 128 runs of events a stratum for blocks, blocks alternately in
folds, one byte an event. Events of one block should not be spread: each block lies in one stratum and fold. Raises
RoundError where columns contradict, or a fold is empty.

Legend: N rows, M events, S strata, D blocks, F 2 folds (that the weights were fitted on).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, log2
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from models.value.bits import add_path, used_spans
from models.value.cells import out_of_fold_cells
from models.value.chain import KNOWN_TOLERANCE, fit_certified, known_out_of_fold
from models.value.events import Array, make_events, per_byte
from models.value.fit import TOLERANCE, fit_pieces
from models.value.fitted import (
    fit_beside,
    fit_new,
    largest_certificate,
    new_sums,
    trial_sums,
)
from models.value.influence import add_influence
from models.value.pieces import Index, piece_size
from models.value.products import over_events
from models.value.table import FLOOR, Table


class Columns(TypedDict, total=False):
    """What may be said of the events [M], and the device on which to work."""

    stratum_M: ArrayLike | None
    block_M: ArrayLike | None
    fold_M: ArrayLike | None
    bytes_M: ArrayLike | None
    device: str | torch.device


@dataclass(frozen=True)
class Measure:
    """bits_N ± se_N and gain ± gain_se (of all rows together over the baseline) in bits per byte.

    weights_SN: mean of the two folds' weights, the baseline's is 1 − their sum. certificate: max_j E[p_j/p] − 1, of
    the fit that is farthest from its best.
    """

    bits_N: Array
    se_N: Array
    gain: float
    gain_se: float
    weights_SN: Array | None
    certificate: float | None


@dataclass(frozen=True)
class InOrder:
    """bits_N ± se_N: what row j adds on top of the flat collective of the baseline and the rows before it.

    refit_bits: what refitting all weights gains beyond those steps; Σ bits_N + refit_bits = gain of `shares`.
    """

    bits_N: Array
    se_N: Array
    refit_bits: float
    gain: float
    gain_se: float


@dataclass(frozen=True)
class NewBits(Measure):
    """bits_N: φ, 0 of members and of what is not admitted; gain: of the admitted over the collective of the members.

    trial_bits_N ± trial_se_N: of each new row alone on top of that collective (0 ± 0 for members).
    """

    admitted_N: NDArray[np.bool_]
    trial_bits_N: Array
    trial_se_N: Array


def new_bits(
    log_probability_NM: Any, log_baseline_M: Any, *, member_N: ArrayLike | None = None, **columns: Unpack[Columns]
) -> NewBits:
    """What new rows add to the collective of the baseline and the members, as a network values them in one epoch.

    A row is tried alone and admitted if it gains more than three standard errors; the gain of all admitted is divided
    by the closed form of `shares`, from that collective on. member_N: bool [N], default none.
    """
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    member_N = np.zeros(table.rows - 1, dtype=bool) if member_N is None else np.asarray(member_N, dtype=bool)
    member_R, new_T = np.flatnonzero(np.insert(member_N, 0, True)), np.flatnonzero(np.insert(~member_N, 0, False))
    fitted = fit_new(table, member_R, new_T)
    known_M = known_out_of_fold(table, member_R, fitted.q_FSR)
    moved_BD = np.zeros((1 + fitted.admitted_A.size, table.events.blocks))
    for cell in out_of_fold_cells(table.events):
        weights_A = fitted.p_FSB[cell.fold, cell.strata[0], 1:]
        on_fit_M = table.mixture(fitted.q_FSR[cell.fold, cell.strata[0]], member_R, cell.fit)
        add_influence(moved_BD, table, cell, weights_A, fitted.admitted_A, (on_fit_M, known_M))
    mean_B, error_B = per_byte(table.events, new_sums(table, fitted, known_M), moved_BD)
    found_4N = np.zeros((4, table.rows))
    found_4N[:2, fitted.admitted_A] = mean_B[1:], error_B[1:]
    found_4N[2:, new_T] = per_byte(table.events, trial_sums(table, known_M, new_T, fitted.trial_FST))
    weights_FSN = np.zeros((2, table.events.strata, table.rows))
    weights_FSN[:, :, member_R] = fitted.p_FSB[:, :, :1] * fitted.q_FSR
    weights_FSN[:, :, fitted.admitted_A] = fitted.p_FSB[:, :, 1:]
    return NewBits(
        bits_N=found_4N[0, 1:],
        se_N=found_4N[1, 1:],
        gain=float(mean_B[0]),
        gain_se=float(error_B[0]),
        weights_SN=weights_FSN[:, :, 1:].mean(axis=0),
        certificate=largest_certificate(table, fitted),
        admitted_N=np.isin(np.arange(1, table.rows), fitted.admitted_A),
        trial_bits_N=found_4N[2, 1:],
        trial_se_N=found_4N[3, 1:],
    )


def shares(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> Measure:
    """Whose the collective's gain is: Aumann-Shapley shares along the straight path from the baseline, in closed form.

    Σ bits_N = gain exactly.
    """
    return measure_shares(make_table(log_probability_NM, log_baseline_M, **columns))


def measure_shares(table: Table) -> Measure:
    """`shares` of a table, which counts what is read of it."""
    return _shares_of(table, *fit_flat(table))


def fit_flat(table: Table) -> tuple[Array, float]:
    """Weights [2, S, 1 + N] of baseline and rows in one flat mixture, and their certificate."""
    return fit_certified(table, np.arange(table.rows), TOLERANCE)


def flat_sums(table: Table, weights_FSN: Array, rows: Index) -> Array:
    """Bits by block [1 + K, D] of a flat mixture over the baseline, with weights of the other fold, and rows' parts."""
    sums_KD = np.zeros((1 + rows.size, table.events.blocks))
    for fold, stratum, span in used_spans(table.events):
        add_path(sums_KD, table, [span], weights_FSN[fold, stratum], rows)
    return sums_KD


def fisher(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> Measure:
    """The score of the white paper "Bittensor: A Peer-to-Peer Intelligence Market": what pruning a row would cost.

    The second-order estimate of the loss when row j's weight is set to 0 and nothing is fitted again (LeCun et al.
    1989): r_j = ½ w_j² E[(p_j/p)²] / ln 2, as −ln p has the Hessian p_i p_j/p² in the weights. Σ bits is no gain.
    """
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    weights_FSN, certificate = fit_flat(table)
    whole = _shares_of(table, weights_FSN, certificate)
    sums_ND = table.blocks.zeros(table.rows)
    for fold, stratum, span in used_spans(table.events):
        weights = torch.tensor(weights_FSN[fold, stratum], device=table.device)
        for begin, _, piece in table.walk([span]):
            part = (weights[:, None] * piece).square_()
            table.blocks.add(sums_ND, begin, part, (weights @ piece).square_().reciprocal_() / (2.0 * log(2.0)))
    bits_N, se_N = per_byte(table.events, table.blocks.numbered(sums_ND)[1:])
    return Measure(bits_N, se_N, whole.gain, whole.gain_se, whole.weights_SN, whole.certificate)


def _shares_of(table: Table, weights_FSN: Array, certificate: float) -> Measure:
    rows, cells = np.arange(1, table.rows), out_of_fold_cells(table.events)
    moved_ND = np.zeros((table.rows, table.events.blocks))
    for cell in cells:
        add_influence(moved_ND, table, cell, weights_FSN[cell.fold, cell.strata[0], 1:], rows)
    mean, error = per_byte(table.events, flat_sums(table, weights_FSN[:, :, 1:], rows), moved_ND)
    weights_SN = weights_FSN[:, :, 1:].mean(axis=0)
    return Measure(mean[1:], error[1:], float(mean[0]), float(error[0]), weights_SN, certificate)


def leave_one_out(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> Measure:
    """What is lost without each row, when the others are fitted again. Rows without weight lose nothing."""
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    weights_FSN, certificate = fit_flat(table)
    whole = _shares_of(table, weights_FSN, certificate)
    gain_D = flat_sums(table, weights_FSN[:, :, 1:], np.arange(1, table.rows))[0]
    lost_ND = np.zeros((table.rows - 1, table.events.blocks))
    for row in np.flatnonzero(weights_FSN[:, :, 1:].any(axis=(0, 1))) + 1:
        others = np.delete(np.arange(table.rows), row)
        start_FSK = weights_FSN[:, :, others]
        start_FSK[~start_FSK.any(axis=2), 0] = 1.0
        again_FSK, _ = fit_certified(table, others, TOLERANCE, start_FSK)
        lost_ND[row - 1] = gain_D - flat_sums(table, again_FSK[:, :, 1:], others[1:])[0]
    bits_N, se_N = per_byte(table.events, lost_ND)
    return Measure(bits_N, se_N, whole.gain, whole.gain_se, whole.weights_SN, whole.certificate)


def in_order(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> InOrder:
    """What each row adds in order of publication: alone on top of a collective of those before it, fitted flat.

    A copy of an earlier row adds exactly nothing.
    """
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    weights_FSN = np.zeros((2, table.events.strata, table.rows))
    weights_FSN[:, :, 0] = 1.0
    step_ND = np.zeros((table.rows - 1, table.events.blocks))
    for row in range(1, table.rows):
        step_ND[row - 1] = _take_step(table, weights_FSN, row)
    gain, gain_se = per_byte(table.events, flat_sums(table, fit_flat(table)[0][:, :, 1:], np.arange(1, table.rows))[:1])
    bits_N, se_N = per_byte(table.events, step_ND)
    return InOrder(bits_N, se_N, float(gain[0] - bits_N.sum()), float(gain[0]), float(gain_se[0]))


def _take_step(table: Table, weights_FSN: Array, row: int) -> Array:
    """Bits by block [D] of one row on top of the collective before it, which it then joins."""
    before = np.arange(row)
    bits_2D = np.zeros((2, table.events.blocks))
    for cell in out_of_fold_cells(table.events):
        strata = list(cell.strata)
        known_N = weights_FSN[cell.fold, strata[0], :row]
        weight_1 = fit_beside(table, cell.fit, table.mixture(known_N, before, cell.fit), np.array([row]))
        if not weight_1[0]:
            continue
        add_path(bits_2D, table, cell.use, weight_1, np.array([row]), table.mixture(known_N, before, cell.use))
        start = np.append(known_N * (1.0 - weight_1), weight_1)
        fit = fit_pieces(table.pieces(cell.fit, np.arange(row + 1)), start=start, tolerance=KNOWN_TOLERANCE)
        weights_FSN[cell.fold, strata, : row + 1] = fit.weights_N
    bits_D: Array = bits_2D[0]
    return bits_D


def nearest(
    log_probability_NM: Any, bytes_M: ArrayLike | None = None, *, device: str | torch.device = "cpu"
) -> tuple[NDArray[np.intp], Array]:
    """Each row's nearest other row, and the root mean square difference of their log2-probabilities an event, in bits.

    Events count by their bytes where these are given. Differences are cut at 40 bits below the event's largest. A row
    alone has neighbour −1, at infinity.
    """
    rows, events = log_probability_NM.shape
    if rows < 2:
        return np.full(rows, -1), np.full(rows, np.inf)
    width_M = torch.ones(events) if bytes_M is None else torch.as_tensor(np.array(bytes_M))
    root_M = width_M.to(device, torch.float64).sqrt()
    square_NN = torch.zeros(rows, rows, dtype=torch.float64, device=device)
    for begin, piece in _logarithms(log_probability_NM, device):
        scaled = piece * root_M[begin : begin + piece.shape[1]]
        norm_N = scaled.square().sum(dim=1)
        square_NN += norm_N[:, None] + norm_N - 2.0 * over_events(scaled, scaled.T)
    near_N = square_NN.fill_diagonal_(torch.inf).argmin(dim=1)
    exact_N = torch.zeros(rows, dtype=torch.float64, device=device)
    for begin, piece in _logarithms(log_probability_NM, device):
        apart = (piece - piece[near_N]) * root_M[begin : begin + piece.shape[1]]
        exact_N += apart.square_().sum(dim=1)
    return near_N.cpu().numpy(), np.sqrt(exact_N.cpu().numpy() / float(width_M.sum()))


def _logarithms(log_probability_NM: Any, device: str | torch.device) -> Iterator[tuple[int, Tensor]]:
    """First event and log2-probabilities [N, m] of each piece, relative to each event's largest."""
    rows, events = log_probability_NM.shape
    step = max(piece_size(torch.device(device)) // rows, 256)
    for begin in range(0, events, step):
        part = log_probability_NM[:, begin : begin + step]
        piece = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part, dtype=np.float64))
        piece = piece.to(device, torch.float64) / log(2.0)
        top_m = piece.amax(dim=0).clamp_(min=-torch.finfo(torch.float64).max)
        yield begin, (piece - top_m).clamp_(min=log2(FLOOR))


def make_table(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> Table:
    """What every measure begins with: rows, baseline and events as one table. Raises RoundError."""
    events = make_events(
        log_probability_NM.shape[1],
        columns.get("stratum_M"),
        columns.get("block_M"),
        columns.get("fold_M"),
        columns.get("bytes_M"),
    )
    return Table(log_probability_NM, log_baseline_M, events, columns.get("device", "cpu"))

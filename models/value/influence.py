"""How a document moves the parts of a gain through the weights that are fitted to it.

Invariants: first order; the parts' influences sum to the gain's; a document moves only what its fold's weights are used
on. An error that takes the weights for given is far too small where rows can stand in for each other: over 60 draws of
200 documents its 95 % intervals held the population's shares in 34 of 100 cases.

Legend: K rows beside the start, D blocks, m events of a piece, U the rows with weight, the start among them if it has.
"""

from math import log

import numpy as np
import torch
from torch import Tensor

from models.value.bits import SERIES_BELOW, logarithmic_mean
from models.value.cells import Cell
from models.value.events import Array
from models.value.fit import RIDGE
from models.value.table import Index, Table


def add_influence(
    into_KD: Array,
    table: Table,
    cell: Cell,
    weights_K: Array,
    rows: Index,
    start_M: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Add by block [1 + K, D], in bits, what each document of a cell's fitted fold moves on the text it is used on.

    The influence function of an M-estimator (Huber 1981): weights move by H⁻¹·Σ(p_j/p − 1)/n, H = E[p_i p_j/p²] over
    the rows with weight, and parts by their derivatives. start_M: the start on the fitted and on the used text, None:
    the baseline. Its own fit is taken for given.
    """
    used = np.flatnonzero(weights_K)
    left = 1.0 - weights_K.sum()
    if not used.size:
        return
    own = rows[used] if start_M is not None else np.concatenate([[0], rows[used]])
    weights = torch.tensor(weights_K[used], dtype=torch.float64, device=table.device)
    block_M = torch.from_numpy(table.events.block_M).to(table.device)
    free = slice(0 if left > 1e-9 else 1, None)
    everything = torch.cat([weights.new_tensor([max(left, 0.0)]), weights])[free]
    score_UD = torch.zeros(len(everything), table.events.blocks, dtype=torch.float64, device=table.device)
    hessian_UU, events = torch.zeros(len(everything), len(everything)).to(weights), 0
    for begin, end, piece in table.walk(cell.fit, own, None if start_M is None else start_M[0]):
        scaled = piece[free] / (everything @ piece[free])
        hessian_UU += scaled @ scaled.T
        score_UD.index_add_(1, block_M[begin:end], scaled - 1.0)
        events += end - begin
    hessian_UU.diagonal().add_(RIDGE * float(hessian_UU.trace()) + RIDGE * events)
    moved_UD = torch.linalg.solve(hessian_UU, score_UD)[-used.size :]
    slope_UU = torch.zeros(used.size, used.size).to(weights)
    for _, _, piece in table.walk(cell.use, own, None if start_M is None else start_M[1]):
        slope_UU += _slopes(weights, piece[0], piece[1:])
    part_UD = (slope_UU @ moved_UD).cpu().numpy()
    into_KD[0] += part_UD.sum(axis=0)
    into_KD[1 + used] += part_UD


def _slopes(weights: Tensor, start_m: Tensor, rows_Um: Tensor) -> Tensor:
    """Derivatives [U, U] of Σ w_j (p_j − q)/L(p, q)/ln 2 over events by the weights."""
    apart_Um = rows_Um - start_m
    end_m = torch.clamp(1.0 - weights.sum(), min=0.0) * start_m + weights @ rows_Um
    inverse_m = 1.0 / logarithmic_mean(end_m, start_m)
    change_m = end_m - start_m
    near_m = change_m.abs() < SERIES_BELOW * (end_m + start_m)
    series_m = -0.5 / ((start_m + 2.0 * end_m) / 3.0).square()
    bend_m = torch.where(near_m, series_m, (1.0 / end_m - inverse_m) / torch.where(near_m, 1.0, change_m))
    slope_UU = weights[:, None] * ((apart_Um * bend_m) @ apart_Um.T)
    slope_UU.diagonal().add_(apart_Um @ inverse_m)
    return slope_UU / log(2.0)

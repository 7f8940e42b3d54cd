"""How a document moves the parts of a gain through the weights that are fitted to it.

Invariants: first order; the parts' influences sum to the gain's; a document moves only what its fold's weights are used
on. An error that takes the weights for given is far too small where rows can stand in for each other: over 60 draws of
200 documents its 95 % intervals held the population's shares in 34 of 100 cases.

Legend: K rows beside the start, D blocks, m events of a piece, U the rows with weight, the start among them if it has,
V the start and the rows with weight.
"""

from math import log

import numpy as np
import torch
from torch import Tensor

from models.value.bits import SERIES_BELOW, end_of_path, logarithmic_mean
from models.value.cells import Cell
from models.value.events import Array
from models.value.newton import RIDGE
from models.value.pieces import Index
from models.value.products import each_over_events, over_events
from models.value.table import Table


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
    first = 0 if left > 1e-9 else 1
    free = torch.cat([weights.new_tensor([max(left, 0.0)]), weights])[first:]
    score_UD, hessian_UU = table.blocks.zeros(len(free)), weights.new_zeros(len(free), len(free))
    for begin, _, piece in table.walk(cell.fit, own, None if start_M is None else start_M[0]):
        inverse_m = (free @ piece[first:]).reciprocal_()
        table.blocks.add(score_UD, begin, piece[first:], inverse_m)
        scaled_Um = piece[first:] * inverse_m
        hessian_UU += over_events(scaled_Um, scaled_Um.T)
    score_UD -= free @ score_UD  # Σ w_j p_j/p = 1: how many events a block has
    events = sum(end - begin for begin, end in cell.fit)
    hessian_UU.diagonal().add_(RIDGE * (hessian_UU.trace() + events))
    moved_UD = torch.linalg.solve(hessian_UU, score_UD)[-used.size :]
    part_UD = _slopes(table, cell, weights, own, None if start_M is None else start_M[1]) @ moved_UD
    into_KD[np.concatenate([[0], 1 + used])] += table.blocks.numbered(torch.cat([part_UD.sum(dim=0)[None], part_UD]))


def _slopes(table: Table, cell: Cell, weights: Tensor, own: Index, start_M: Tensor | None) -> Tensor:
    """Derivatives [U, U] of Σ w_j (p_j − q)/L(p, q)/ln 2 over the events that the cell is used on by the weights.

    Of Σ (p_i − q)(p_j − q) b, with b the derivative of 1/L by p, products of p and q themselves are what is computed.
    """
    many = 1 + len(weights)
    bend_VV, straight_V = weights.new_zeros(many, many), weights.new_zeros(many)
    for _, _, piece in table.walk(cell.use, own, start_M):
        start_m = piece[0]
        end_m = end_of_path(weights, start_m, piece[1:])
        inverse_m = logarithmic_mean(end_m, start_m).reciprocal_()
        change_m = end_m - start_m
        near_m = change_m.abs() < SERIES_BELOW * (end_m + start_m)
        series_m = 0.5 / ((start_m + 2.0 * end_m) / 3.0).square()
        bend_m = torch.where(near_m, series_m, (inverse_m - 1.0 / end_m) / torch.where(near_m, 1.0, change_m))
        straight_V += each_over_events(piece, inverse_m)
        bent_Vm = piece * bend_m.sqrt_()
        bend_VV += over_events(bent_Vm, bent_Vm.T)
    slope_UU = weights[:, None] * (bend_VV[1:, :1] + bend_VV[:1, 1:] - bend_VV[0, 0] - bend_VV[1:, 1:])
    slope_UU.diagonal().add_(straight_V[1:] - straight_V[0])
    return slope_UU / log(2.0)

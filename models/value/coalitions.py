"""The best mixtures of many coalitions of few rows at once, certified, and what each gains out of fold.

Invariants: the baseline is in every coalition; every coalition reaches the certificate; a coalition is fitted once.

The batch is one matrix of weights, so that all probabilities are one product, all gradients another, and all Hessians
a third, with the products of pairs of rows.

Legend: C coalitions, K = 1 + N rows (the baseline first), M events, m events of a piece, Q pairs of rows.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.value.cells import out_of_fold_cells
from models.value.errors import RoundError
from models.value.events import Array
from models.value.fit import MAXIMUM_STEPS, TOLERANCE
from models.value.newton import ENTRY, RIDGE
from models.value.table import Table

BATCH = 2**21
"""Probabilities of coalitions that are worked on together: 16 MB."""
ACTIVE_SETS = 12
"""Changes of the active set within one quadratic problem; what is left after them is cut off at 0."""
HALVINGS = 8
"""Of a step that gains nothing, before a multiplicative one takes its place."""

Sets = NDArray[np.bool_]


def coalition_gains(table: Table, sets_CN: Sets, mix_VC: Array) -> tuple[Array, Array, float]:
    """Sums by block [V, D] of mix_VC @ gains, each coalition's gain over the baseline in bits [C], the largest
    certificate. Sets are of the rows without the baseline.
    """
    gain_C = torch.zeros(len(sets_CN), dtype=torch.float64, device=table.device)
    sums_VD = table.blocks.zeros(len(mix_VC))
    mix = torch.from_numpy(mix_VC).to(table.device)
    sets_CK = torch.from_numpy(np.insert(sets_CN, 0, True, axis=1)).to(table.device)
    above = 0.0
    for cell in out_of_fold_cells(table.events):
        fit_KM = torch.cat(list(table.pieces(cell.fit)), dim=1)
        used = [(begin, piece) for begin, _, piece in table.walk(cell.use)]
        step = max(1, BATCH // fit_KM.shape[1])
        guess_K = fit_sets(fit_KM, torch.ones_like(sets_CK[:1]), torch.ones(1, len(fit_KM)).to(fit_KM))[0][0]
        for first in range(0, len(sets_CK), step):
            sets = sets_CK[first : first + step]
            start = guess_K * sets + 0.02 * guess_K.sum() * sets / sets.sum(dim=1, keepdim=True)
            weights_CK, certificate = fit_sets(fit_KM, sets, start)
            above = max(above, certificate)
            for begin, piece in used:
                bits = (weights_CK @ piece).log2_() - piece[0].log2()
                gain_C[first : first + step] += bits.sum(dim=1)
                table.blocks.add(sums_VD, begin, mix[:, first : first + step] @ bits, torch.ones_like(bits[0]))
    return table.blocks.numbered(sums_VD), gain_C.cpu().numpy(), above


def fit_sets(rows_KM: Tensor, sets_CK: Tensor, start_CK: Tensor) -> tuple[Tensor, float]:
    """Weights [C, K] of the best mixture of each set, and the largest certificate max_j E[p_j/p] − 1 of them.

    Newton steps on all sets that are not certified yet, as in `models.value.fit`. Raises RoundError where one is not
    after MAXIMUM_STEPS.
    """
    weights_CK = start_CK / start_CK.sum(dim=1, keepdim=True)
    left = torch.arange(len(sets_CK), device=rows_KM.device)
    largest = 0.0
    for _ in range(MAXIMUM_STEPS):
        weights, sets = weights_CK[left], sets_CK[left]
        inverse_CM = (weights @ rows_KM).reciprocal_()
        ratio = (inverse_CM @ rows_KM.T) / rows_KM.shape[1]
        above = torch.where(sets, ratio, 0.0).amax(dim=1) - 1.0
        open_ = above > TOLERANCE
        largest = max(largest, float(above[~open_].max()) if bool((~open_).any()) else 0.0)
        if not bool(open_.any()):
            return weights_CK, largest
        if not bool(open_.all()):
            left, weights, sets, ratio = left[open_], weights[open_], sets[open_], ratio[open_]
            inverse_CM = inverse_CM[open_]
        weights_CK[left] = _step(rows_KM, weights, sets, inverse_CM, ratio)
    raise RoundError(f"{len(left)} of {len(sets_CK)} coalitions cannot be certified: some rows are almost equal")


def _step(rows_KM: Tensor, weights: Tensor, sets: Tensor, inverse_CM: Tensor, ratio: Tensor) -> Tensor:
    direction = _target(_hessians(rows_KM, inverse_CM), 2.0 * ratio - 1.0, weights, sets) - weights
    change_CM = (direction @ rows_KM).mul_(inverse_CM)
    least, slope, total = change_CM.amin(dim=1), ((ratio - 1.0) * direction).sum(dim=1), direction.sum(dim=1)
    length = torch.zeros_like(slope)
    waiting = torch.arange(len(weights), device=weights.device)
    for halvings in range(HALVINGS):
        tried = 0.5**halvings
        moved = change_CM if len(waiting) == len(weights) else change_CM[waiting]
        gained = torch.log1p(moved * tried).mean(dim=1) - torch.log1p(tried * total[waiting])
        enough = (gained > 0) & (gained >= 1e-4 * tried * slope[waiting]) & (least[waiting] * tried > -1.0)
        length[waiting[enough]] = tried
        waiting = waiting[~enough]
        if not len(waiting):
            break
    stepped = (weights + length[:, None] * direction).clamp_(min=0.0)
    multiplied = torch.where(weights > 0, weights * ratio, ENTRY * sets)
    stepped = torch.where(length[:, None] > 0, stepped, multiplied)
    return stepped / stepped.sum(dim=1, keepdim=True)


def _hessians(rows_KM: Tensor, inverse_CM: Tensor) -> Tensor:
    """E[p_i p_j / p²] of every coalition [C, K, K]."""
    upper = torch.triu_indices(len(rows_KM), len(rows_KM), device=rows_KM.device)
    packed_CQ = torch.zeros(len(inverse_CM), upper.shape[1], dtype=rows_KM.dtype, device=rows_KM.device)
    step = max(1, BATCH // upper.shape[1])
    for first in range(0, rows_KM.shape[1], step):
        piece = rows_KM[:, first : first + step]
        packed_CQ += inverse_CM[:, first : first + step].square() @ (piece[upper[0]] * piece[upper[1]]).T
    hessian = torch.empty(len(inverse_CM), len(rows_KM), len(rows_KM), dtype=rows_KM.dtype, device=rows_KM.device)
    hessian[:, upper[0], upper[1]] = packed_CQ / rows_KM.shape[1]
    hessian[:, upper[1], upper[0]] = hessian[:, upper[0], upper[1]]
    return hessian


def _target(hessian: Tensor, linear: Tensor, weights: Tensor, sets: Tensor) -> Tensor:
    """Minimisers over y ≥ 0 of ½ y'Hy − c'y, by exchanging active sets; nearly so where they do not settle."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    diagonal += RIDGE * diagonal.mean(dim=1, keepdim=True)
    free = sets & ((weights > 0) | (linear > 1.0))
    for _ in range(ACTIVE_SETS):
        both = free[:, :, None] & free[:, None, :]
        system = torch.where(both, hessian, torch.diag_embed((~free).to(hessian.dtype)))
        y = torch.linalg.solve(system, torch.where(free, linear, 0.0))
        pull = linear - (hessian @ y[:, :, None])[:, :, 0]
        wanted = (free & (y > 0)) | (sets & ~free & (pull > 1e-13))
        if torch.equal(wanted, free):
            break
        free = wanted
    return torch.where(free, y, 0.0).clamp_(min=0.0)

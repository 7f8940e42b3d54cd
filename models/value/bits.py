"""From weights to bits: what a straight path from one mixture to another gains, and which row brings which part of it.

Invariants: the parts sum to the gain exactly (up to rounding); nothing is fitted here.

Legend: K rows, M events, m events of a piece, D blocks.
"""

from collections.abc import Iterator, Sequence
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.value.cells import Span, spans_of
from models.value.events import Array, Events
from models.value.pieces import Index
from models.value.table import Table

SERIES_BELOW = 1e-3
"""Relative half difference under which the logarithmic mean takes its series: the next term is under 1e-19."""


def logarithmic_mean(a: Tensor, b: Tensor) -> Tensor:
    """L(a, b) = (a − b)/(ln a − ln b) of positive numbers, L(a, a) = a; accurate to rounding where a is near b."""
    half = (a - b) / (a + b)
    near = half.abs() < SERIES_BELOW
    square = torch.where(near, half * half, 0.0)
    inverse = 1.0 + square * (1.0 / 3.0 + square / 5.0)
    # The logarithms themselves where the two are far apart: half rounds to ±1 there.
    ratio = torch.where(near, 0.5, half)
    far = torch.where(ratio.abs() < 0.5, torch.atanh(ratio), 0.5 * (a.log() - b.log())) / ratio
    return 0.5 * (a + b) / torch.where(near, inverse, far)


def walk_path(weights_K: Tensor, start_m: Tensor, rows_Km: Tensor) -> tuple[Tensor, Tensor]:
    """Bits from the start to the mixture (1 − Σw)·start + Σ w_j p_j by event [m], and each row's part of them [K, m].

    Relative probabilities. The parts are Aumann-Shapley shares along the straight path: w_j (p_j − start) /
    L(mixture, start) / ln 2.
    """
    part_Km = weights_K[:, None] * (rows_Km - start_m)
    end_m = end_of_path(weights_K, start_m, rows_Km)
    part_Km /= logarithmic_mean(end_m, start_m) * log(2.0)
    return (end_m.log() - start_m.log()) / log(2.0), part_Km


def path_bits(weights_K: Any, start_M: Any, log_probability_KM: Any) -> tuple[Array, Array]:
    """`walk_path` of natural log-probabilities [M] and [K, M], as NumPy arrays."""
    log_probability = torch.as_tensor(np.vstack([start_M, log_probability_KM]), dtype=torch.float64)
    relative = (log_probability - log_probability.amax(dim=0)).exp()
    gain_M, part_KM = walk_path(torch.as_tensor(weights_K, dtype=torch.float64), relative[0], relative[1:])
    return gain_M.numpy(), part_KM.numpy()


def add_path(
    into_KD: Array, table: Table, spans: Sequence[Span], weights_K: Array, rows: Index, start_M: Tensor | None = None
) -> None:
    """Add by block [1 + K, D] what the path to a mixture brings on some spans: the gain, then each row's part.

    The path leads from start_M (relative, by event of the table; None: the baseline).
    """
    used = np.flatnonzero(weights_K)
    if not used.size:
        return
    weights = torch.tensor(weights_K[used], dtype=torch.float64, device=table.device)
    own = rows[used] if start_M is not None else np.concatenate([[0], rows[used]])
    gain_1D, slope_KD = table.blocks.zeros(1), table.blocks.zeros(1 + used.size)
    for begin, _, piece in table.walk(spans, own, start_M):
        start_m = piece[0]
        end_m = end_of_path(weights, start_m, piece[1:])
        inverse_m = logarithmic_mean(end_m, start_m).reciprocal_()
        table.blocks.add(slope_KD, begin, piece, inverse_m)
        table.blocks.add(gain_1D, begin, (end_m.log() - start_m.log())[None], torch.ones_like(start_m))
    part_KD = weights[:, None] * (slope_KD[1:] - slope_KD[0])
    sums_KD = torch.cat([gain_1D, part_KD]) / log(2.0)
    into_KD[np.concatenate([[0], 1 + used])] += table.blocks.numbered(sums_KD)


def end_of_path(weights_K: Tensor, start_m: Tensor, rows_Km: Tensor) -> Tensor:
    """The mixture (1 − Σw)·start + Σ w_j p_j by event [m], relative probabilities."""
    return torch.clamp(1.0 - weights_K.sum(), min=0.0) * start_m + weights_K @ rows_Km


def used_spans(events: Events) -> Iterator[tuple[int, int, Span]]:
    """(fold of the weights, stratum, events of the other fold) for every part that has events, in the table's order."""
    span = spans_of(events)
    for cell_fold in (0, 1):
        for stratum in range(events.strata):
            begin, end = span[1 - cell_fold, stratum]
            if end > begin:
                yield cell_fold, stratum, (begin, end)

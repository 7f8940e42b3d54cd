"""Which events weights are fitted on, and which they are used on.

Invariants: no event is used with weights that were fitted on its own document; each event is used exactly once; the
same cells serve the collective, the trials and the new versions, so that what was best for a cell's collective stays
best when a copy of one of its members is tried on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.round import Round

MINIMUM_EVENTS = 256
MINIMUM_DOCUMENTS = 3
"""A stratum with fewer events or documents in a fold takes weights fitted on all strata of that fold: with one or two
documents its own weights were worse out of fold than the joint ones, by 0.01 to 0.02 bit on the standard library."""


@dataclass(frozen=True)
class Cell:
    """Weights fitted on `fit_M` (event indices, all of `fold`) are used on `use_M` (of `strata`, in the other fold)."""

    fold: int
    strata: tuple[int, ...]
    fit_M: NDArray[np.intp]
    use_M: NDArray[np.intp]


def out_of_fold_cells(round_: Round) -> list[Cell]:
    """Cells that cover every (fold, stratum), thin strata joined: at most 2 × (strata + 1)."""
    cells = []
    for fold in (0, 1):
        fitted_M, other_M = round_.fold_M == fold, round_.fold_M != fold
        for strata, pooled in _groups(round_, fitted_M):
            in_strata_M = np.isin(round_.stratum_M, strata)
            fit_M = fitted_M if pooled else fitted_M & in_strata_M
            cells.append(Cell(fold, strata, np.flatnonzero(fit_M), np.flatnonzero(other_M & in_strata_M)))
    return cells


def flat_cells(round_: Round) -> list[Cell]:
    """The same on both folds together, for weights that will be used on text of later epochs. `use_M` is empty."""
    everything_M = np.ones(round_.fold_M.shape, dtype=bool)
    nothing = np.zeros(0, dtype=np.intp)
    return [
        Cell(0, strata, np.flatnonzero(everything_M if pooled else np.isin(round_.stratum_M, strata)), nothing)
        for strata, pooled in _groups(round_, everything_M)
    ]


def _groups(round_: Round, among_M: NDArray[np.bool_]) -> list[tuple[tuple[int, ...], bool]]:
    groups: list[tuple[tuple[int, ...], bool]] = []
    thin = []
    for stratum in range(len(round_.strata)):
        in_stratum_M = among_M & (round_.stratum_M == stratum)
        documents = np.unique(round_.document_D_of_M[in_stratum_M]).size
        if in_stratum_M.sum() < MINIMUM_EVENTS or documents < MINIMUM_DOCUMENTS:
            thin.append(stratum)
        else:
            groups.append(((stratum,), False))
    return [*groups, (tuple(thin), True)] if thin else groups

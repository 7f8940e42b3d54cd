"""The collective of the next epoch, as one validator would have it.

Invariants: only members and admitted versions take part; each stratum's weights sum to 65535 exactly; rows without
weight anywhere are left out, except those that belong to nobody (the baseline and the commons), which always stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.accounts import divide_largest_remainder
from models.value.cells import flat_cells
from models.value.fit import fit_mixture
from models.value.round import BASELINE_UID, Round

LARGEST_WEIGHT = 65535
SCALE = 2**40
"""Float weights become whole claims in these parts of 1 before they are divided."""


@dataclass(frozen=True)
class Collective:
    """Members with their weights by stratum, weights_SC: uint16 [strata, members], each row of sum 65535."""

    rows: tuple[int, ...]
    manifests: tuple[bytes, ...]
    uids: tuple[int, ...]
    strata: tuple[str, ...]
    weights_SC: NDArray[np.uint16]


def next_collective(round_: Round, admitted_A: NDArray[np.intp]) -> Collective:
    """Members and admitted versions, fitted flat on both folds together, by stratum."""
    rows_K = np.concatenate([round_.member_rows, np.setdiff1d(admitted_A, round_.member_rows)])
    weights_SK = np.zeros((len(round_.strata), rows_K.size), dtype=np.uint16)
    for cell in flat_cells(round_):
        log_probability_KM = round_.log_probability_NM[np.ix_(rows_K, cell.fit_M)]
        weights_SK[list(cell.strata)] = whole_weights(fit_mixture(log_probability_KM).weights_N.tolist())
    kept = np.flatnonzero(weights_SK.any(axis=0) | (round_.uid_N[rows_K] == BASELINE_UID))
    rows = tuple(rows_K[kept].tolist())
    return Collective(
        rows,
        tuple(round_.manifests[row] for row in rows),
        tuple(int(round_.uid_N[row]) for row in rows),
        round_.strata,
        weights_SK[:, kept],
    )


def whole_weights(weights: Sequence[float]) -> list[int]:
    """Weights as whole numbers of sum 65535, by largest remainder."""
    return divide_largest_remainder(LARGEST_WEIGHT, [int(weight * SCALE) for weight in weights])

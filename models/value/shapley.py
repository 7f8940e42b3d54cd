"""Shapley values of rows: a coalition's worth is what its best mixture gains over the baseline, out of fold.

Invariants: Σ bits = gain of all rows together; each coalition is fitted once, whatever permutations it is met in.

Legend: N rows, C coalitions, P permutations, D blocks.
"""

from math import comb
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from models.value.coalitions import Sets, coalition_gains
from models.value.errors import RoundError
from models.value.events import Array, per_byte
from models.value.measures import Columns, Measure, make_table
from models.value.table import Table

MOST_ROWS = 16
"""Rows whose 2^N coalitions are all fitted."""
PERMUTATIONS = 512


def exact_shapley(log_probability_NM: Any, log_baseline_M: Any, **columns: Unpack[Columns]) -> Measure:
    """Shapley values (1953) over all 2^N coalitions of at most MOST_ROWS rows. Raises RoundError for more."""
    rows = int(log_probability_NM.shape[0])
    if rows > MOST_ROWS:
        raise RoundError(f"exact Shapley values of {rows} rows need 2^{rows} fits: use permutation_shapley")
    sets_CN = (np.arange(2**rows)[:, None] >> np.arange(rows) & 1).astype(bool)
    size_C = sets_CN.sum(axis=1)
    with_ = np.array([1.0 / (rows * comb(rows - 1, max(size - 1, 0))) for size in range(rows + 1)])
    without = np.array([1.0 / (rows * comb(rows - 1, min(size, rows - 1))) for size in range(rows + 1)])
    mix_NC = np.where(sets_CN, with_[size_C][:, None], -without[size_C][:, None]).T
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    return _measure(table, sets_CN, mix_NC, None)


def permutation_shapley(
    log_probability_NM: Any,
    log_baseline_M: Any,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    **columns: Unpack[Columns],
) -> Measure:
    """Shapley values estimated from permutations drawn at random (Castro et al. 2009), coalitions fitted in one batch.

    The error adds that of the text, by document, and that of the draw of permutations.
    """
    rows = int(log_probability_NM.shape[0])
    rng = np.random.default_rng(seed)
    order_PN = rng.permuted(np.tile(np.arange(rows), (permutations, 1)), axis=1)
    place_PN = np.argsort(order_PN, axis=1)
    every = np.concatenate([place_PN < size for size in range(rows + 1)])
    packed, of_X = np.unique(np.packbits(every, axis=1), axis=0, return_inverse=True)
    sets_CN = np.unpackbits(packed, axis=1, count=rows).astype(bool)
    of_SP = of_X.reshape(rows + 1, permutations)
    mix_NC = np.zeros((rows, len(sets_CN)))
    for size in range(rows):
        joins_P = order_PN[:, size]
        np.add.at(mix_NC, (joins_P, of_SP[size + 1]), 1.0 / permutations)
        np.add.at(mix_NC, (joins_P, of_SP[size]), -1.0 / permutations)
    after_PN = of_SP[place_PN + 1, np.arange(permutations)[:, None]]
    before_PN = of_SP[place_PN, np.arange(permutations)[:, None]]
    table = make_table(log_probability_NM, log_baseline_M, **columns)
    return _measure(table, sets_CN, mix_NC, (after_PN, before_PN))


def _measure(
    table: Table, sets_CN: Sets, mix_NC: Array, draws: tuple[NDArray[np.intp], NDArray[np.intp]] | None
) -> Measure:
    rows = len(mix_NC)
    whole_C = np.flatnonzero(sets_CN.all(axis=1))
    whole_1C = np.zeros((1, len(sets_CN)))
    whole_1C[0, whole_C[0]] = 1.0
    sums, gain_C, above = coalition_gains(table, sets_CN, np.vstack([mix_NC, whole_1C]))
    mean, error = per_byte(table.events, sums)
    if draws is not None:
        joined_PN = (gain_C[draws[0]] - gain_C[draws[1]]) / table.events.bytes_D.sum()
        error[:rows] = np.sqrt(error[:rows] ** 2 + joined_PN.var(axis=0) / len(joined_PN))
    return Measure(mean[:rows], error[:rows], float(mean[rows]), float(error[rows]), None, above)

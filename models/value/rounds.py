"""A round through the solver that all measures share: its quantised matrix as a table, its weights, its values.

Invariants: a round's values follow from the rounded matrix alone; only members and admitted versions take part in the
next collective, never remote peers, who cannot be asked for its sake later.
"""

from math import log

import numpy as np

from models.value.cells import flat_cells
from models.value.collective import Collective, whole_weights
from models.value.fit import fit_pieces
from models.value.fitted import compute_values, fit_new
from models.value.pieces import Index
from models.value.round import BASELINE_UID, Round
from models.value.table import Table
from models.value.values import Fitted, Values


def table_of(round_: Round, device: str = "cpu") -> Table:
    """The round's rows as the solver takes them. Raises RoundError where the baseline gives an event no probability."""
    return Table(round_.log_probability_NM[1:], round_.log_probability_NM[0], round_.events, device)


def fit_round(round_: Round, table: Table) -> Fitted:
    """All weights of the round: of what is known, the trials on top of it, and p over q and what they admitted."""
    return fit_new(table, round_.member_rows, round_.new_rows, round_.remote_rows)


def values_of(round_: Round, table: Table, fitted: Fitted) -> Values:
    """Everything in bits per byte, from the rounded matrix and given weights; nothing is fitted here."""
    return compute_values(table, fitted, -round_.log_probability_NM.sum(axis=1) / log(2.0) / round_.bytes_M.sum())


def next_collective(round_: Round, table: Table, admitted_A: Index) -> Collective:
    """Members and admitted versions, fitted flat on both folds together, by stratum.

    Rows without weight anywhere are left out, except those that belong to nobody (the baseline and the commons).
    """
    rows_K = np.concatenate([round_.member_rows, np.setdiff1d(admitted_A, round_.member_rows)])
    weights_SK = np.zeros((len(round_.strata), rows_K.size), dtype=np.uint16)
    for cell in flat_cells(table.events):
        fit = fit_pieces(table.pieces(cell.fit, rows_K))
        weights_SK[list(cell.strata)] = whole_weights(fit.weights_N.tolist())
    kept = np.flatnonzero(weights_SK.any(axis=0) | (round_.uid_N[rows_K] == BASELINE_UID))
    rows = tuple(rows_K[kept].tolist())
    return Collective(
        rows,
        tuple(round_.manifests[row] for row in rows),
        tuple(int(round_.uid_N[row]) for row in rows),
        round_.strata,
        weights_SK[:, kept],
    )

"""The main line: from a round and the accounts before it to values, credits, accounts, votes and the next collective.

Invariants: nothing here has state; the same values follow from recorded weights without fitting (`models.value.audit`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from models.value.accounts import Books, keep_books, nano
from models.value.bits import Values, admitted_rows, compute_values, known_out_of_fold, trial_gains
from models.value.cells import out_of_fold_cells
from models.value.collective import Collective, next_collective
from models.value.fitted import Fitted, fit_admitted, fit_known, fit_trials
from models.value.round import Array, Round


@dataclass(frozen=True)
class Valuation:
    """What a validator knows at the end of its round: weights, values, bookkeeping, and the collective it proposes."""

    fitted: Fitted
    values: Values
    books: Books
    collective: Collective


def evaluate(round_: Round, accounts_before: Mapping[int, int], answered: Collection[int]) -> Valuation:
    """Value a round. Accounts by uid in 10^-9 bit per byte; `answered` are the uids that may be voted for.

    Accounts of uids that changed hands must have been dropped. Raises RoundError if an event has no probability at all.
    """
    fitted = fit_round(round_)
    values = compute_values(round_, fitted)
    books = books_of(round_, fitted, values, accounts_before, answered)
    return Valuation(fitted, values, books, next_collective(round_, fitted.admitted_A))


def fit_round(round_: Round) -> Fitted:
    """All weights of the round: q, the trials on top of it, and p over q and what the trials admitted."""
    cells = out_of_fold_cells(round_)
    q_FSR = fit_known(round_, cells)
    trial_FST = fit_trials(round_, cells, q_FSR)
    gain_T, gain_se_T = trial_gains(round_, known_out_of_fold(round_, q_FSR), trial_FST)
    admitted_A = admitted_rows(round_, gain_T, gain_se_T)
    p_FSB = fit_admitted(round_, cells, q_FSR, admitted_A)
    return Fitted(round_.member_rows, round_.new_rows, admitted_A, q_FSR, trial_FST, p_FSB)


def books_of(
    round_: Round, fitted: Fitted, values: Values, accounts_before: Mapping[int, int], answered: Collection[int]
) -> Books:
    """The integers that follow from values: credits, accounts after, votes."""
    uids = round_.uid_N[fitted.trial_T].tolist()
    tried_se = dict(zip(uids, map(nano, values.trial_gain_se_T.tolist()), strict=True))
    admitted = round_.uid_N[fitted.admitted_A].tolist()
    phi = dict(zip(admitted, map(nano, values.new_bits_A.tolist()), strict=True))
    phi_se = dict(zip(admitted, map(nano, values.new_bits_se_A.tolist()), strict=True))
    return keep_books(
        gain=nano(values.gain),
        gain_se=nano(values.gain_se),
        new_bits={uid: phi.get(uid, 0) for uid in uids},
        new_bits_se=tried_se | phi_se,
        accounts_before=accounts_before,
        answered=answered,
    )


def sum_by_uid(round_: Round, value_N: Array) -> dict[int, float]:
    """Sums of a row vector by uid, baseline and commons left out: a peer's share over all its versions."""
    uids, of_N = np.unique(round_.uid_N, return_inverse=True)
    sums = np.bincount(of_N.reshape(-1), weights=value_N, minlength=uids.size)
    return {int(uid): float(value) for uid, value in zip(uids, sums, strict=True) if uid >= 0}

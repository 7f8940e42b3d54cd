"""The main line: from a round and the accounts before it to values, credits, accounts, votes and the next collective.

Invariants: nothing here has state; the same values follow from recorded weights without fitting (`models.value.audit`);
torch is imported when a round is valued, not before.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from models.value.accounts import Books, keep_books, nano
from models.value.events import Array
from models.value.round import Round
from models.value.updates import Weighing, claims_by_version
from models.value.values import Fitted, Values
from models.value.values import Valuation as Valuation


def evaluate(
    round_: Round,
    accounts_before: Mapping[int, int],
    answered: Collection[int],
    weighings: Sequence[Weighing] = (),
    *,
    device: str = "cpu",
) -> Valuation:
    """Value a round. Accounts by uid in 10^-9 bit per byte; `answered` are the uids that may be voted for; `weighings`
    say who is paid for the versions of cohorts; `device` is torch's.

    Accounts of uids that changed hands must have been dropped. Raises RoundError if an event has no probability at all.
    """
    from models.value.rounds import fit_round, next_collective, table_of, values_of  # torch comes with the first round

    table = table_of(round_, device)
    fitted = fit_round(round_, table)
    values = values_of(round_, table, fitted)
    books = books_of(round_, fitted, values, accounts_before, answered, weighings)
    return Valuation(fitted, values, books, next_collective(round_, table, fitted.admitted_A))


def books_of(
    round_: Round,
    fitted: Fitted,
    values: Values,
    accounts_before: Mapping[int, int],
    answered: Collection[int],
    weighings: Sequence[Weighing] = (),
) -> Books:
    """The integers that follow from values: credits, accounts after, votes."""
    uids = round_.uid_N[fitted.trial_T].tolist()
    tried_se = dict(zip(uids, map(nano, values.trial_gain_se_T.tolist()), strict=True))
    admitted = round_.uid_N[fitted.admitted_A].tolist()
    phi = dict(zip(admitted, map(nano, values.new_bits_A.tolist()), strict=True))
    phi_se = dict(zip(admitted, map(nano, values.new_bits_se_A.tolist()), strict=True))
    remote = round_.uid_N[fitted.remote_P].tolist()
    added = np.where(fitted.kept_P, values.remote_gain_P, 0.0).tolist()
    claims = claims_by_version(weighings)
    trial_T = fitted.trial_T.tolist()
    members = {
        uid: claims[round_.manifests[row]]
        for uid, row in zip(uids, trial_T, strict=True)
        if round_.manifests[row] in claims
    }
    return keep_books(
        gain=nano(values.gain),
        gain_se=nano(values.gain_se),
        new_bits={uid: phi.get(uid, 0) for uid in uids},
        new_bits_se=tried_se | phi_se,
        accounts_before=accounts_before,
        answered=answered,
        remote_bits=dict(zip(remote, map(nano, added), strict=True)),
        remote_bits_se=dict(zip(remote, map(nano, values.remote_gain_se_P.tolist()), strict=True)),
        members=members,
    )


def sum_by_uid(round_: Round, value_N: Array) -> dict[int, float]:
    """Sums of a row vector by uid, baseline and commons left out: a peer's share over all its versions."""
    uids, of_N = np.unique(round_.uid_N, return_inverse=True)
    sums = np.bincount(of_N.reshape(-1), weights=value_N, minlength=uids.size)
    return {int(uid): float(value) for uid, value in zip(uids, sums, strict=True) if uid >= 0}

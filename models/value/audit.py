"""Checking a vote: the values again from the matrix and the recorded weights, and the weights by their certificate.

Invariants: nothing is fitted; values are compared within 1e-9 bit per byte; credits, accounts and votes, exactly.
"""

from dataclasses import dataclass

import numpy as np

from models.value.accounts import Books
from models.value.events import Array
from models.value.evidence import SUMMARY, Evidence
from models.value.updates import audit_weighings
from models.value.valuation import books_of
from models.value.values import Fitted, Values

VALUE_TOLERANCE = 1e-9
WEIGHT_TOLERANCE = 1e-9
"""How far recorded weights may be from a sum of 1."""
VECTORS = (
    "bits_per_byte_N",
    "remote_gain_P",
    "remote_gain_se_P",
    "trial_gain_T",
    "trial_gain_se_T",
    "new_bits_A",
    "new_bits_se_A",
    "share_bits_N",
)


@dataclass(frozen=True)
class Recomputed:
    """Values from the matrix and the recorded weights; books from the recorded values and accounts."""

    values: Values
    books: Books


def recompute(evidence: Evidence) -> Recomputed:
    """Derive values and bookkeeping again, without fitting. Raises RoundError where the round cannot be valued."""
    from models.value.rounds import table_of, values_of  # torch comes with the first round

    round_, fitted = evidence.round(), evidence.fitted()
    books = books_of(round_, fitted, evidence.values(), evidence.accounts_before, evidence.answered, evidence.rounds)
    return Recomputed(values_of(round_, table_of(round_), fitted), books)


def audit(evidence: Evidence) -> list[str]:
    """What is wrong with a vote's evidence, a sentence each; none if it is sound. Raises RoundError as `recompute`."""
    fitted, recorded = evidence.fitted(), evidence.values()
    if not _are_weights(fitted):
        return ["recorded weights are not mixtures: below 0, or not of sum 1"]
    if not _are_links(fitted):
        return ["what was known before a remote peer was tried counts somebody who was not admitted before it"]
    again = recompute(evidence)
    found = [
        f"{name} differs from what the matrix and the weights give"
        for name in (*SUMMARY, *VECTORS)
        if not _close(getattr(recorded, name), getattr(again.values, name))
    ]
    if again.books != evidence.books:
        found.append("credits, accounts or votes do not follow from the recorded values")
    return found + audit_weighings(evidence.rounds) + _audit_fits(evidence, fitted, recorded)


def _audit_fits(evidence: Evidence, fitted: Fitted, recorded: Values) -> list[str]:
    from models.value.fit import TOLERANCE
    from models.value.fitted import admit, largest_certificate
    from models.value.rounds import table_of

    found = []
    admitted = admit(fitted.trial_T, recorded.trial_gain_T, recorded.trial_gain_se_T)
    if not np.array_equal(admitted, fitted.admitted_A):
        found.append("the versions admitted are not those whose gain exceeds three standard errors")
    excess = largest_certificate(table_of(evidence.round()), fitted)
    if not excess <= TOLERANCE + VALUE_TOLERANCE:
        found.append(f"recorded weights are not the best: their certificate is {excess:.1e} above 1")
    return found


def _are_weights(fitted: Fitted) -> bool:
    mixtures = all(
        bool(np.all(weights >= 0) and np.all(np.abs(weights.sum(axis=-1) - 1.0) <= WEIGHT_TOLERANCE))
        for weights in (fitted.chain_KFSR, fitted.p_FSB)
    )
    return mixtures and bool(np.all((fitted.trial_FST >= 0) & (fitted.trial_FST <= 1)))


def _are_links(fitted: Fitted) -> bool:
    outside = (np.delete(link_FSR, fitted.in_link(link), axis=2) for link, link_FSR in enumerate(fitted.chain_KFSR))
    return not any(weights.any() for weights in outside)


def _close(recorded: float | Array, again: float | Array) -> bool:
    return bool(np.allclose(recorded, again, rtol=0, atol=VALUE_TOLERANCE))

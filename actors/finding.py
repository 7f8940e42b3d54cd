"""From a valuation to what a person is told: one validator's finding."""

import numpy as np

from actors.ballot import Finding, NeuronFinding, RoundFinding
from actors.table import Asked
from models.value.accounts import NANO
from models.value.valuation import Valuation, sum_by_uid


def make_finding(asked: Asked, valuation: Valuation, rounds: tuple[RoundFinding, ...] = (), note: str = "") -> Finding:
    """Lay out a valuation neuron by neuron. Bits per byte; nothing here is paid, it is shown."""
    values, books, uid_N = valuation.values, valuation.books, asked.round_.uid_N
    measured = {
        row.uid: float(values.bits_per_byte_N[index]) for index, row in enumerate(asked.rows, start=1) if row.present
    }
    measured |= asked.aside
    shares = sum_by_uid(asked.round_, values.share_bits_N)
    uids = sorted({*measured, *asked.failures, *(uid for uid in books.accounts)})
    fitted = valuation.fitted
    admitted = {int(uid_N[row]) for row in (*fitted.admitted_A, *fitted.remote_P[fitted.kept_P])}
    tried = {int(uid_N[row]) for row in (*fitted.trial_T, *fitted.remote_P)}
    neurons = tuple(
        NeuronFinding(
            uid=uid,
            bits_per_byte=_finite(measured.get(uid)),
            new_bits=books.new_bits.get(uid, 0) / NANO if uid in tried else None,
            new_bits_se=books.new_bits_se.get(uid, 0) / NANO if uid in tried else None,
            account_bits=books.accounts.get(uid, 0) / NANO,
            share_bits=shares.get(uid, 0.0),
            admitted=uid in admitted,
            looked_up=asked.looked_up.get(uid, 0),
            failure=asked.failures.get(uid, ""),
        )
        for uid in uids
    )
    return Finding(
        baseline=float(values.baseline_bits_per_byte),
        known=float(values.known_bits_per_byte),
        collective=float(values.collective_bits_per_byte),
        new_bits=float(values.gain),
        new_bits_se=float(values.gain_se),
        events=asked.round_.matrix_NM.shape[1],
        neurons=neurons,
        rounds=rounds,
        note=note,
    )


def _finite(bits: float | None) -> float | None:
    return bits if bits is not None and np.isfinite(bits) else None

"""The exponential and the logistic function in integers, the same bits on every machine.

Invariants:
* No floating point. Tables are computed once from exact integer series, with 64 bits to spare.
* `sigmoid_q31` is within 4 units of 2^-31 of the real function, and σ(-x) = 1 - σ(x) to the bit.
"""

from functools import cache

import numpy as np

from ledger.epoch.fixed import ONE_Q31, Q31_BITS, Int64s

GUARD_BITS = 64
COARSE_BITS, FINE_BITS = 24, 12
"""An argument of 36 bits is cut into a coarse part (steps of 2^-7), a fine part (steps of 2^-19) and a rest."""

LARGEST_Q31 = (32 << Q31_BITS) - 1
"""exp(-32) is far below 2^-31: arguments beyond are taken as this."""


def exp_minus(numerator: int, denominator: int, bits: int) -> int:
    """exp(-numerator/denominator) in units of 2^-bits, for a ratio of 0 or more; off by less than one unit.

    The argument is halved until its Taylor series is short, and the result squared as often.
    """
    if numerator > bits * denominator:
        return 0
    work_bits = bits + GUARD_BITS
    argument = (numerator << work_bits) // denominator
    halvings = max(0, argument.bit_length() - work_bits + 8)
    step = argument >> halvings
    total = term = 1 << work_bits
    count = 0
    while term:
        count += 1
        term = ((term * step) >> work_bits) // count
        total += -term if count & 1 else term
    for _ in range(halvings):
        total = (total * total) >> work_bits
    return total >> GUARD_BITS


def sigmoid(numerator: int, denominator: int, bits: int) -> int:
    """1 / (1 + exp(-x)) for x = numerator/denominator, in units of 2^-bits."""
    one = 1 << bits
    upper = one * one // (one + exp_minus(abs(numerator), denominator, bits))
    return upper if numerator >= 0 else one - upper


def sigmoid_q31(x_q31: Int64s) -> Int64s:
    """1 / (1 + exp(-x)) element by element; argument and result in Q31."""
    magnitude = np.abs(np.clip(x_q31, -LARGEST_Q31, LARGEST_Q31))
    coarse = _table(COARSE_BITS)[magnitude >> COARSE_BITS]
    fine = _table(FINE_BITS)[(magnitude >> FINE_BITS) & ((1 << FINE_BITS) - 1)]
    # exp(-r) is 1 - r for the rest r below 2^-19, to 2^-39.
    rest = ONE_Q31 - (magnitude & ((1 << FINE_BITS) - 1))
    power = (((coarse * fine) >> Q31_BITS) * rest) >> Q31_BITS
    upper = (1 << (2 * Q31_BITS)) // (ONE_Q31 + power)
    shares: Int64s = np.where(x_q31 >= 0, upper, ONE_Q31 - upper)
    return shares


@cache
def _table(step_bits: int) -> Int64s:
    """exp(-k · 2^(step_bits - 31)) in Q31 for k from 0 to 4095."""
    denominator = 1 << (Q31_BITS - step_bits)
    return np.array([exp_minus(k, denominator, Q31_BITS) for k in range(1 << FINE_BITS)], dtype=np.int64)

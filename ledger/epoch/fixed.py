"""Exact fixed-point shares: vectors and matrices of integers become Q31 shares of one.

Invariants:
* A share is an integer q that means q / 2^31. Shares of a vector sum to exactly 2^31, or are all 0 when the vector is.
* Every division is exact: floor, then one unit each to the largest remainders, ties to the lower index.
* No floating point, and no operation whose result depends on the build of NumPy.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Ratio = tuple[int, int]

Q31_BITS = 31
ONE_Q31 = 1 << Q31_BITS
"""The share that means 1."""

MAX_SUM_BITS = 62
"""Row sums may reach 2^62: the sum of Q31 × Q31 products whose left factors sum to one."""


def split_largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` whole units in proportion to `weights`, losing none.

    Each part is floor(total · weight / sum), and the units left over go one each to the largest remainders, ties to the
    lower index. The parts sum to `total`; if no weight is positive they are all 0. ValueError if anything is negative.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise ValueError(f"cannot split {total} by {list(weights)[:8]}: totals and weights must be 0 or more")
    weight_sum = sum(weights)
    if weight_sum == 0:
        return [0] * len(weights)
    divided = [divmod(total * weight, weight_sum) for weight in weights]
    parts = [quotient for quotient, _ in divided]
    by_remainder = sorted(range(len(parts)), key=lambda index: -divided[index][1])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def normalize_q31(values: Sequence[int]) -> list[int]:
    """Q31 shares of non-negative integers of any size: sum exactly 2^31, or all 0."""
    return split_largest_remainder(ONE_Q31, values)


def threshold_q31(ratio: Ratio) -> int:
    """The smallest Q31 share that is at least `ratio`: share ≥ it means share · denominator ≥ numerator · 2^31."""
    numerator, denominator = ratio
    return -(-numerator * ONE_Q31 // denominator)


def normalize_rows_q31(values_MK: Int64s) -> Int64s:
    """Q31 shares of each row of a matrix: `normalize_q31` row by row, for entries ≥ 0 and row sums ≤ 2^62."""
    values = values_MK.astype(np.uint64)
    sums_M = values.sum(axis=1)
    shares_MK = np.zeros(values.shape, dtype=np.int64)
    used = np.flatnonzero(sums_M)
    quotients, remainders = _divide_rows(values[used], sums_M[used])
    missing = ONE_Q31 - quotients.sum(axis=1)
    _raise_largest(quotients, remainders, missing)
    shares_MK[used] = quotients
    return shares_MK


def _divide_rows(values_MK: UInt64s, sums_M: UInt64s) -> tuple[Int64s, Int64s]:
    """Exact quotient and remainder of values · 2^31 / sum, whose dividend has up to 93 bits.

    Both are shifted left until the sum has 62 bits. Then value // (sum >> 31) is at most 2 above the quotient, and the
    remainder that it leaves lies in (-2 · sum, sum), which arithmetic modulo 2^64 tells apart.
    """
    shifts_M = _leading_room(sums_M)
    values = values_MK << shifts_M[:, None]
    sums = (sums_M << shifts_M)[:, None]
    q31_bits = np.uint64(Q31_BITS)
    quotients = values // (sums >> q31_bits)
    remainders = (values << q31_bits) - quotients * sums
    for _ in range(2):
        below_zero = remainders >= np.uint64(1 << MAX_SUM_BITS)
        quotients -= below_zero
        remainders += sums * below_zero
    return quotients.astype(np.int64), remainders.astype(np.int64)


def _leading_room(sums_M: UInt64s) -> UInt64s:
    """How far each positive sum can be shifted left and still have at most 62 bits (2^62 itself stays)."""
    shifts = np.zeros_like(sums_M)
    for step in (32, 16, 8, 4, 2, 1):
        fits = (sums_M << shifts) < np.uint64(1 << (MAX_SUM_BITS - step))
        shifts += fits * np.uint64(step)
    return shifts


def _raise_largest(quotients_MK: Int64s, remainders_MK: Int64s, missing_M: Int64s) -> None:
    """Add, in place, one unit to each row's `missing` largest remainders, ties to the lower index."""
    short = np.flatnonzero(missing_M)
    order = np.argsort(-remainders_MK[short], axis=1, kind="stable")
    raised = np.arange(order.shape[1]) < missing_M[short, None]
    units = np.zeros_like(order)
    np.put_along_axis(units, order, raised.astype(units.dtype), axis=1)
    quotients_MK[short] += units

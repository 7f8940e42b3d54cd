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


BLOCK_ENTRIES = 1 << 16
"""Entries of a matrix that are divided at a time: 512 KiB, so that the steps of a division find them in the cache."""


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


def ratio_q31(ratio: Ratio) -> int:
    """The largest Q31 share that is at most `ratio`."""
    numerator, denominator = ratio
    return numerator * ONE_Q31 // denominator


def normalize_rows_q31(values_MK: Int64s) -> Int64s:
    """Q31 shares of each row of a matrix: `normalize_q31` row by row, for entries ≥ 0 and row sums ≤ 2^62."""
    rows, width = values_MK.shape
    shares_MK = np.zeros((rows, width), dtype=np.int64)
    step = max(1, BLOCK_ENTRIES // max(1, width))
    for start in range(0, rows, step):
        block = slice(start, start + step)
        _normalize_block(values_MK[block].astype(np.uint64, order="C"), shares_MK[block])
    return shares_MK


def _normalize_block(values_MK: UInt64s, shares_MK: Int64s) -> None:
    """Write the shares of some rows; rows of zeros stay 0."""
    sums_M = values_MK.sum(axis=1)
    used_M = sums_M != 0
    if used_M.all():
        quotients, remainders = _divide_rows(values_MK, sums_M)
        _raise_largest(quotients, remainders, ONE_Q31 - quotients.sum(axis=1))
        shares_MK[:] = quotients
    elif used_M.any():
        used_shares = np.zeros((int(used_M.sum()), values_MK.shape[1]), dtype=np.int64)
        _normalize_block(values_MK[used_M], used_shares)
        shares_MK[used_M] = used_shares


def _divide_rows(values_MK: UInt64s, sums_M: UInt64s) -> tuple[Int64s, Int64s]:
    """Exact quotient and remainder of values · 2^31 / sum, whose dividend has up to 93 bits. Overwrites `values_MK`.

    Both are shifted left until the sum has 62 bits. Then value // (sum >> 31) is at most 2 above the quotient, and the
    remainder that it leaves lies in (-2 · sum, sum), which arithmetic modulo 2^64 tells apart.
    """
    shifts_M = _leading_room(sums_M)
    values_MK <<= shifts_M[:, None]
    sums = (sums_M << shifts_M)[:, None]
    q31_bits = np.uint64(Q31_BITS)
    quotients = values_MK // (sums >> q31_bits)
    values_MK <<= q31_bits
    values_MK -= quotients * sums
    for _ in range(2):
        below_zero = values_MK >= np.uint64(1 << MAX_SUM_BITS)
        quotients -= below_zero
        np.add(values_MK, sums, out=values_MK, where=below_zero)
    return quotients.view(np.int64), values_MK.view(np.int64)


def _leading_room(sums_M: UInt64s) -> UInt64s:
    """How far each positive sum can be shifted left and still have at most 62 bits (2^62 itself stays)."""
    shifts = np.zeros_like(sums_M)
    for step in (32, 16, 8, 4, 2, 1):
        fits = (sums_M << shifts) < np.uint64(1 << (MAX_SUM_BITS - step))
        shifts += fits * np.uint64(step)
    return shifts


def _raise_largest(quotients_MK: Int64s, remainders_MK: Int64s, missing_M: Int64s) -> None:
    """Add, in place, one unit to each row's `missing` largest remainders, ties to the lower index.

    The remainder that is the `missing`-th largest of its row divides those above it, which all get a unit, from those
    equal to it, of which the first get what is left. Sorting values is several times quicker than sorting indices.
    """
    short = np.flatnonzero(missing_M)
    remainders, missing = remainders_MK[short], missing_M[short]
    ranked = np.sort(remainders, axis=1)
    last = np.take_along_axis(ranked, remainders.shape[1] - missing[:, None], axis=1)
    raised = remainders > last
    tied_rows, tied_columns = np.nonzero(remainders == last)
    counts = np.bincount(tied_rows, minlength=len(short))
    place = np.arange(len(tied_rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = place < (missing - raised.sum(axis=1))[tied_rows]
    raised[tied_rows[chosen], tied_columns[chosen]] = True
    quotients_MK[short] += raised

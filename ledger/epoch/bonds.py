"""Bonds: what a validator owns of a neuron's success, and the dividends that follow, by profile.

Invariants:
* Integers only. A bond is a Q31 share; `classic` columns sum to 2^31 or 0, `yuma3` bonds are from 0 to 2^31 each.
* A bond moves towards the vote that it stands for and never past it.

Shapes: V validators, M targets. Source: the epoch of opentensor/subtensor (moving average of column-normalised bonds;
Yuma 3 with liquid alpha: a rate for every pair).
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ledger.epoch.exponential import sigmoid_q31
from ledger.epoch.fixed import ONE_Q31, Q31_BITS, Int64s, Ratio, normalize_q31, normalize_rows_q31, ratio_q31

Integers = TypeVar("Integers", Int64s, npt.NDArray[np.object_])


def interpolate(from_: Integers, to: Integers, ratio: Ratio) -> Integers:
    """from + ratio · (to - from), rounded down; entries from 0 to 2^31, or Python integers of any size."""
    numerator, denominator = ratio
    if numerator == denominator:
        return to
    moved: Integers = ((denominator - numerator) * from_ + numerator * to) // denominator
    return moved


def mix_q31(old: Integers, new: Integers, alpha_q31: Integers) -> Integers:
    """(1 - α) · old + α · new, pair by pair, at most 2^31 (one)."""
    mixed: Integers = ((ONE_Q31 - alpha_q31) * old + alpha_q31 * new) >> Q31_BITS
    return np.minimum(mixed, ONE_Q31)


def compute_classic_bonds(stake_V: Int64s, weights_VM: Int64s, old_VM: Int64s, alpha: Ratio) -> Int64s:
    """B ← (1 - α) B + α ΔB with ΔB = stake · weight, all of them column-normalised."""
    numerator, denominator = alpha
    old_MV = normalize_rows_q31(old_VM.T)
    new_MV = normalize_rows_q31((stake_V[:, None] * weights_VM).T)
    old_MV *= denominator - numerator
    new_MV *= numerator
    old_MV += new_MV
    return normalize_rows_q31(old_MV).T


def compute_classic_dividends(bonds_VM: Int64s, incentive_M: Int64s) -> list[int]:
    """D_i = Σ_j B_ij I_j, as Q31 shares."""
    return normalize_q31((bonds_VM @ incentive_M).tolist())


def compute_liquid_alpha(
    weights_VM: Int64s, old_VM: Int64s, consensus_M: Int64s, low: Ratio, high: Ratio, steepness: Ratio
) -> Int64s:
    """The rate of every pair in Q31: low + (high - low) · σ(steepness · (d - 1/2)).

    d is how far the vote is above consensus where it is at least the bond (who is early buys fast), and else how far it
    is below the bond (who is gone sells fast).
    """
    above_VM = np.clip(weights_VM - consensus_M, 0, ONE_Q31)
    below_VM = np.clip(old_VM - weights_VM, 0, ONE_Q31)
    distance_VM = np.where(weights_VM >= old_VM, above_VM, below_VM)
    numerator, denominator = steepness
    share_VM = sigmoid_q31(numerator * (distance_VM - ONE_Q31 // 2) // denominator)
    low_q31, high_q31 = ratio_q31(low), ratio_q31(high)
    return low_q31 + ((high_q31 - low_q31) * share_VM >> Q31_BITS)


def compute_pair_dividends(stake_V: Int64s, bonds_VM: Int64s, incentive_M: Int64s) -> list[int]:
    """D_i = A_i Σ_j B_ij I_j with bonds column-normalised, as Q31 shares.

    Where no bond stands behind any incentive, dividends follow active stake.
    """
    owned_V = (normalize_rows_q31(bonds_VM.T).T @ incentive_M).tolist()
    dividends = [stake * owned for stake, owned in zip(stake_V.tolist(), owned_V, strict=True)]
    if not any(dividends) and incentive_M.any():
        return normalize_q31(stake_V.tolist())
    return normalize_q31(dividends)

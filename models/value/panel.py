"""The checks of a panel: what is no distribution, what another said before, and what was looked up.

Invariants: NumPy only; a check looks at no more than what was answered and what came, so everybody checks alike; each
refusal is a `RoundError` of one sentence with the figures that it rests on.

Legend: W windows, N rows (the baseline first), M events.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.errors import RoundError
from models.value.round import quantise

SUM_TOLERANCE = 1e-3
"""How far the sum of an answered distribution may be from 1: float32 leaves 1e-5, bfloat16 a few 1e-4."""
CERTAIN = 0.999
"""A probability that should be wrong once in a thousand times."""
WRONG_SHARE = 1 / 16
"""Who is certain and wrong more often, and more than `WRONG_LEAST` times, answers no probabilities."""
WRONG_LEAST = 16
KNOWN = 0.99
"""Above this, per byte, a window is known."""
UNKNOWN = 0.5
"""Up to this, per byte, it is not."""
KNOWN_SHARE = 0.9
"""Who knows more than this part of what nobody else knows has looked it up. Beside untrained models honest counts of
long contexts, at 2.3 bits per byte, know 46 % of bytes and 61 % of those of tables, so a half would refuse the first
good model of a network; beside a decent model they know 12 % of what it does not. Who has the text knows all of it.
"""
ALONE_LEAST = 64
"""Windows that nobody else knows, below which chance could do it: who knows three of four exceeds nine of ten once in
a thousand times.
"""
EQUAL_SHARE = 0.5
"""Of the windows, above which equal answers are the same answers."""

Log = NDArray[np.float32]
Rows = Sequence[NDArray[np.float64]] | NDArray[np.floating]


def check_distributions(log_probability_W256: Log) -> None:
    """RoundError unless every row is a distribution, in natural logarithms (−inf allowed) and up to SUM_TOLERANCE."""
    windows = len(log_probability_W256)
    nan = int(np.isnan(log_probability_W256).any(axis=1).sum())
    if nan:
        raise RoundError(f"{nan} of {windows} distributions hold what is not a number")
    above = int((log_probability_W256 > np.log1p(SUM_TOLERANCE)).any(axis=1).sum())
    if above:
        raise RoundError(f"{above} of {windows} distributions hold a probability above 1")
    sum_W = np.exp(log_probability_W256, dtype=np.float64).sum(axis=1)
    off_W = np.abs(sum_W - 1.0)
    wrong = int((off_W > SUM_TOLERANCE).sum())
    if wrong:
        worst = sum_W[off_W.argmax()]
        raise RoundError(f"{wrong} of {windows} distributions do not sum to 1, one sums to {worst:.4g}")


def check_certainty(log_probability_W256: Log, target_W: NDArray[np.uint8]) -> None:
    """RoundError for who is certain and wrong, as one-hot answers are: no probability that anybody could have meant."""
    certain_W = log_probability_W256.max(axis=1) > np.log(CERTAIN)
    certain = int(certain_W.sum())
    wrong = int((certain_W & (log_probability_W256.argmax(axis=1) != target_W)).sum())
    if wrong > max(WRONG_LEAST, WRONG_SHARE * certain):
        raise RoundError(f"was certain of {certain} bytes and wrong about {wrong} of them")


def target_column(log_probability_W256: Log, target_W: NDArray[np.uint8]) -> NDArray[np.float64]:
    """ln of what each distribution, made to sum to 1, gives to the byte that came, float64 [W].

    Without that a sum of 1.001 would be 0.0014 bit of every byte for nothing.
    """
    log_probability = log_probability_W256.astype(np.float64)
    column_W: NDArray[np.float64] = log_probability[np.arange(len(target_W)), target_W] - np.log(
        np.exp(log_probability).sum(axis=1)
    )
    np.minimum(column_W, 0.0, out=column_W)
    return column_W


def mark_windows(log_probability_W256: Log) -> NDArray[np.uint64]:
    """A number for each window's distribution, uint64 [W]: equal where they are equal to 1/1024 bit."""
    units = quantise(np.minimum(log_probability_W256, 0.0)).astype(np.int64).view(np.uint64)
    odd_256 = np.random.default_rng(0).integers(0, 2**63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    marks_W: NDArray[np.uint64] = (units * odd_256).sum(axis=1, dtype=np.uint64)
    return marks_W


def find_original(marks_W: NDArray[np.uint64], earlier: Sequence[NDArray[np.uint64]]) -> int | None:
    """The first of the earlier rows that says the same of more than EQUAL_SHARE of the windows; None if none does."""
    equal = (index for index, other_W in enumerate(earlier) if (marks_W == other_W).mean() > EQUAL_SHARE)
    return next(equal, None)


@dataclass(frozen=True)
class LookedUp:
    """By owner of rows, how many windows: `known`, those that it knows and nobody else does; `alone`, all those that
    nobody else knows, in which it could have stood out like that.
    """

    known: dict[int, int]
    alone: dict[int, int]


def looked_up(
    log_probability_NM: Rows,
    window_M: NDArray[np.integer],
    bytes_M: NDArray[np.integer],
    *,
    windows: int,
    owner_N: Sequence[int] | None = None,
) -> LookedUp:
    """Windows that one predicts above KNOWN per byte (geometric mean over its events) and nobody else above UNKNOWN.

    Rows of one owner (None: each row its own, by index) are not others to each other. Rows are read one by one, so
    they may be a memory map. Natural logarithms, −inf allowed.
    """
    owners = list(range(len(log_probability_NM))) if owner_N is None else list(owner_N)
    bytes_W = np.bincount(window_M, bytes_M, minlength=windows)
    asked_W = bytes_W > 0
    best = {owner: np.full(windows, -np.inf) for owner in owners}
    for row, owner in enumerate(owners):
        total_W = np.bincount(window_M, np.asarray(log_probability_NM[row], np.float64), minlength=windows)
        best[owner] = np.maximum(best[owner], total_W / np.maximum(bytes_W, 1))
    ranked = np.sort([*best.values(), np.full(windows, -np.inf), np.full(windows, -np.inf)], axis=0)
    known, alone = {}, {}
    for owner, best_W in best.items():
        others_W = np.where(best_W == ranked[-1], ranked[-2], ranked[-1])
        alone_W = asked_W & (others_W <= np.log(UNKNOWN))
        alone[owner] = int(alone_W.sum())
        known[owner] = int((alone_W & (best_W > np.log(KNOWN))).sum())
    return LookedUp(known, alone)


def check_looked_up(known: int, alone: int) -> None:
    """RoundError for who knows nearly everything that nobody else knows."""
    if alone >= ALONE_LEAST and known > KNOWN_SHARE * alone:
        raise RoundError(f"looked up: knows {known} of {alone} bytes that nobody else does")

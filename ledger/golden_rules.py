"""Golden cases of single rules of consensus: the median of a column, permits, the sigmoid, bonds, the scale of votes.

Invariants: wherever the ledger has the rule, the ledger's own function is what is run. How votes are scaled, which is
the validator's business, is computed as the reference does.
"""

from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ledger.epoch.bonds import interpolate, mix_q31
from ledger.epoch.consensus import compute_consensus, compute_permits
from ledger.epoch.exponential import LARGEST_Q31, sigmoid_q31
from ledger.epoch.fixed import ONE_Q31
from ledger.golden_compare import Check, GoldenInputError, each, map_nested, once, ratio, read_as, whole

U16 = 65535


class Median(Struct):
    """weighted_median: scores of one target by validator; weighted_median_col: by validator and target."""

    stake: list[Fraction]
    score: list[Any]
    majority: Fraction
    normalize_stake: bool | None = None


class TopK(Struct):
    """A case of topk."""

    values: list[Fraction]
    k: int


class Series(Struct):
    """A series of sigmoid: σ(rho · (x - kappa))."""

    x: list[Fraction]
    rho: Fraction
    kappa: Fraction


class Limited(Struct):
    """A case of check_max_limited."""

    weights: list[Fraction]
    limit: Fraction


class Matrix(Struct):
    """col_max_upscale, by row."""

    matrix: list[list[Fraction]]


class Mix(Struct):
    """A case of ema_alpha: vectors or matrices."""

    old: list[Any]
    new: list[Any]
    alpha: list[Any]


class Move(Struct):
    """A case of interpolate: vectors or matrices."""

    a: list[Any]
    b: list[Any]
    ratio: Fraction


def compute_median(data: Any) -> list[Fraction]:
    """Stakes are compared as whole numbers, scores by their order: nothing is rounded."""
    median = read_as(data, Median, "input")
    columns = bool(median.score) and isinstance(median.score[0], list)
    matrix = read_as(median.score if columns else [[value] for value in median.score], list[list[Fraction]], "score")
    if len(matrix) != len(median.stake) or len({len(row) for row in matrix}) > 1:
        raise GoldenInputError("input: score must have a row for each stake, all of one length")
    normalized = columns if median.normalize_stake is None else median.normalize_stake
    *stake, majority = whole([*median.stake, median.majority * (sum(median.stake) if normalized else 1)])
    if not sum(stake):
        return [Fraction(0)] * (len(matrix[0]) if matrix else 1)
    if sum(stake) >= 2**62:
        raise GoldenInputError("input: stakes have too many digits")
    scores = sorted({Fraction(0), *chain.from_iterable(matrix)})
    order = {score: place for place, score in enumerate(scores)}
    ranks_VM = np.array([[order[score] for score in row] for row in matrix], dtype=np.int64)
    agreed_M = compute_consensus(np.array(stake, dtype=np.int64), ranks_VM, majority)
    return [scores[place] for place in agreed_M.tolist()]


def compute_topk(case: TopK) -> list[bool]:
    """Permits for stakes in the order of the values."""
    places = {value: place for place, value in enumerate(sorted(set(case.values)))}
    return compute_permits([places[value] for value in case.values], case.k, minimum_stake_rao=0)


def compute_sigmoid(series: Series) -> list[Fraction]:
    """σ in Q31."""
    arguments = [int(series.rho * (x - series.kappa) * ONE_Q31) for x in series.x]
    bounded = [max(-LARGEST_Q31, min(LARGEST_Q31, argument)) for argument in arguments]
    return [Fraction(value, ONE_Q31) for value in sigmoid_q31(np.array(bounded, dtype=np.int64)).tolist()]


def compute_upscaled_u16(values: list[Fraction]) -> list[int]:
    """Votes scaled so that the largest is 65535, rounded half up."""
    largest = max(values, default=Fraction(0))
    return [int(value * U16 / largest + Fraction(1, 2)) if largest else 0 for value in values]


def compute_upscaled_columns(data: Any) -> list[list[Fraction]]:
    """Each column scaled so that its largest is 1."""
    matrix = read_as(data, Matrix, "input").matrix
    if len({len(row) for row in matrix}) > 1:
        raise GoldenInputError("input.matrix: rows must have one length")
    largest = [max(column) for column in zip(*matrix, strict=True)]
    return [[value / top if top else Fraction(0) for value, top in zip(row, largest, strict=True)] for row in matrix]


def is_max_limited(case: Limited) -> bool:
    """Whether the largest share is at most `limit` u16 parts of one."""
    return max(case.weights, default=0) * U16 <= case.limit * sum(case.weights)


def compute_ema(case: Mix) -> Any:
    """Bonds mixed pair by pair."""
    return _from_q31(mix_q31(_to_q31(case.old), _to_q31(case.new), _to_q31(case.alpha)))


def compute_interpolated(case: Move) -> Any:
    """Votes moved towards their clipped form."""
    return _from_q31(interpolate(_to_q31(case.a), _to_q31(case.b), ratio(case.ratio)))


def _to_q31(nested: Any) -> npt.NDArray[np.object_]:
    return np.array(map_nested(lambda value: round(value * ONE_Q31), nested), dtype=object)


def _from_q31(values: npt.NDArray[np.object_]) -> Any:
    return map_nested(lambda value: Fraction(value, ONE_Q31), values.tolist())


RULES: dict[str, Check] = {
    "weighted_median": once("median", lambda data: compute_median(data)[0]),
    "weighted_median_col": once("median", compute_median),
    "sigmoid": each("series", "series", Series, compute_sigmoid),
    "topk": each("cases", "masks", TopK, compute_topk),
    "max_upscale_u16": each("vectors", "vectors", list[Fraction], compute_upscaled_u16),
    "max_upscale_fixed": each("vectors", "vectors", list[Fraction], compute_upscaled_u16),
    "col_max_upscale": once("matrix", compute_upscaled_columns),
    "check_max_limited": each("cases", "ok", Limited, is_max_limited),
    "ema_alpha": each("cases", "matrices", Mix, compute_ema),
    "interpolate": each("cases", "matrices", Move, compute_interpolated),
}
"""By kind."""

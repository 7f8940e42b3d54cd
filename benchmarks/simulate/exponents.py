"""How steeply each step grows: the exponent between two sizes, once as peers grow and once as validators do.

Invariants: pure; seconds are of the process, so that what else runs does not count; n log n has exponents a little
above 1 (1.12 from 1,000 to 10,000), n² has 2; what takes less than a few milliseconds is left out.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any

LEAST_S = (0.005, 0.01)
"""At the smaller and at the larger size: below them timers and caches are what is measured."""


def exponent(smaller: float, larger: float, ratio: float) -> float:
    """a where the value grows as size to the a."""
    return log(larger / smaller) / log(ratio)


def exponents_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """By what grows ("peers", "validators"), by step and by pair of sizes; validators or peers are the same in each
    pair.
    """
    found: dict[str, dict[str, dict[str, float]]] = {"peers": {}, "validators": {}}
    for axis, other in (("peers", "validators"), ("validators", "peers")):
        groups: dict[int, list[Mapping[str, Any]]] = {}
        for run in runs:
            groups.setdefault(run["size"][other], []).append(run)
        for fixed, group in sorted(groups.items()):
            ordered = sorted(group, key=lambda run: int(run["size"][axis]))
            for small, large in pairwise(ordered):
                _add(found[axis], small, large, axis, f"{fixed:,} {other}")
    return found


def _add(
    found: dict[str, dict[str, float]], small: Mapping[str, Any], large: Mapping[str, Any], axis: str, beside: str
) -> None:
    low, high = small["size"][axis], large["size"][axis]
    name = f"{low:,} to {high:,}, {beside}"
    for step, seconds in large["cpu_s"].items():
        before = small["cpu_s"].get(step, 0.0)
        if before >= LEAST_S[0] and seconds >= LEAST_S[1]:
            found.setdefault(step, {})[name] = round(exponent(before, seconds, high / low), 3)

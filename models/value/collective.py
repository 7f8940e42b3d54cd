"""The collective of the next epoch, as one validator would have it.

Invariants: each stratum's weights sum to 65535 exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.accounts import divide_largest_remainder

LARGEST_WEIGHT = 65535
SCALE = 2**40
"""Float weights become whole claims in these parts of 1 before they are divided."""


@dataclass(frozen=True)
class Collective:
    """Members with their weights by stratum, weights_SC: uint16 [strata, members], each row of sum 65535."""

    rows: tuple[int, ...]
    manifests: tuple[bytes, ...]
    uids: tuple[int, ...]
    strata: tuple[str, ...]
    weights_SC: NDArray[np.uint16]


def whole_weights(weights: Sequence[float]) -> list[int]:
    """Weights as whole numbers of sum 65535, by largest remainder."""
    return divide_largest_remainder(LARGEST_WEIGHT, [int(weight * SCALE) for weight in weights])

"""An update: what a member of a cohort sends of its pseudo-gradient, as everybody reads it.

Invariants: positions ascend and are within the layout, values are finite; the norm is the same on every machine.

Legend: N coordinates that were sent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.train.layout import Vector

SMALLEST = np.finfo(np.float32).tiny
"""The smallest float32 of full precision."""


LARGEST = 65536.0
"""No parameter moves so far in a round; with it no sum of squares, and no step, overflows."""


@dataclass(frozen=True)
class Update:
    """A decoded pseudo-gradient Δ = θ − θ_local. What was not sent is 0.

    Attributes:
        position_N: int64, ascending, in the vector of parameters; None: all of them.
        value_N: float32.
        norm: Euclidean, of the values.
    """

    position_N: NDArray[np.int64] | None
    value_N: NDArray[np.float32]
    norm: float


def flushed(values: Vector) -> Vector:
    """The same values, with 0 for those without float32's full precision, which not every processor keeps."""
    return np.where(np.abs(values) < SMALLEST, np.float32(0.0), values)

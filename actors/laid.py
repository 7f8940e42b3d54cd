"""What a panel makes of its answers: rows of log-probabilities on common events."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.rows import Row


@dataclass(frozen=True)
class Laid:
    """N rows on M events.

    Attributes:
        rows: what stands in the rows after the baseline, in the order in which versions were asked.
        matrix_NM: int32, of `quantise`, the baseline first.
        window_M, offset_M, bytes_M: each event's window, its first byte there, and how many bytes it has.
        lost: by manifest, why a version that answered has no row, as "invalid|refused: sentence".
        aside: versions that are only measured and whose tokens do not fit the events, with their own bits per byte.
    """

    rows: tuple[Row, ...]
    matrix_NM: NDArray[np.int32]
    window_M: NDArray[np.int32]
    offset_M: NDArray[np.int32]
    bytes_M: NDArray[np.int32]
    lost: Mapping[bytes, str]
    aside: Mapping[Row, float] = field(default_factory=dict)

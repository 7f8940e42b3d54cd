"""What a round's valuation consists of: the weights that were fitted, and the bits that follow from them.

Invariants: plain arrays, so that evidence is read without torch.

Legend: N rows, R members, T tried, A admitted, B = A + 1, F 2 folds (that the weights were fitted on), S strata.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.accounts import Books
from models.value.collective import Collective
from models.value.events import Array


@dataclass(frozen=True)
class Fitted:
    """Row indices, and weights by fitted fold and stratum. p's column 0 is the weight of q as a whole."""

    member_R: NDArray[np.intp]
    trial_T: NDArray[np.intp]
    admitted_A: NDArray[np.intp]
    q_FSR: Array
    trial_FST: Array
    p_FSB: Array


@dataclass(frozen=True)
class Values:
    """All in bits per byte, out of fold. Row vectors are infinite where a version gave an event no probability.

    gain: G, of p over q. new_bits_A: φ of the admitted versions. share_bits_N: whose p is, from the baseline (0 without
    weight). trial_gain_T: of each new version alone on top of q.
    """

    gain: float
    gain_se: float
    baseline_bits_per_byte: float
    known_bits_per_byte: float
    collective_bits_per_byte: float
    bits_per_byte_N: Array
    trial_gain_T: Array
    trial_gain_se_T: Array
    new_bits_A: Array
    new_bits_se_A: Array
    share_bits_N: Array


@dataclass(frozen=True)
class Valuation:
    """What a validator knows at the end of its round: weights, values, bookkeeping, and the collective it proposes."""

    fitted: Fitted
    values: Values
    books: Books
    collective: Collective

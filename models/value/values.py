"""What a round's valuation consists of: the weights that were fitted, and the bits that follow from them.

Invariants: plain arrays, so that evidence is read without torch.

Legend: N rows, P remote peers, K = P + 1 links of the chain, R members and remote peers, T tried, A admitted,
B = A + 1, F 2 folds (that the weights were fitted on), S strata.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.value.accounts import Books
from models.value.collective import Collective
from models.value.events import Array

ADMISSION_ERRORS = 3.0
"""A version or a remote peer is admitted if its gain out of fold exceeds so many standard errors."""


@dataclass(frozen=True)
class Fitted:
    """Row indices, and weights by fitted fold and stratum. p's column 0 is the weight of q as a whole.

    known_R: members, then remote peers. chain_KFSR: link 0 of the members alone; link k + 1 of the members, the remote
    peers admitted before peer k, and peer k. kept_P: which remote peers were admitted, so that the links after theirs
    know them. q is what is known in the end.
    """

    known_R: NDArray[np.intp]
    kept_P: NDArray[np.bool_]
    chain_KFSR: Array
    trial_T: NDArray[np.intp]
    admitted_A: NDArray[np.intp]
    trial_FST: Array
    p_FSB: Array

    @property
    def members(self) -> int:
        """How many of known_R are members."""
        return self.known_R.size - self.kept_P.size

    @property
    def remote_P(self) -> NDArray[np.intp]:
        """Rows of the remote peers."""
        return self.known_R[self.members :]

    @property
    def q_FSR(self) -> Array:
        """Weights of what is known, remote peers included."""
        known_FSR: Array = self.chain_KFSR[np.flatnonzero(np.append(True, self.kept_P))[-1]]
        return known_FSR

    def in_link(self, link: int) -> NDArray[np.intp]:
        """The places among known_R of who takes part in a link."""
        taking_part_P = self.kept_P & (np.arange(self.kept_P.size) < link)
        taking_part_P[link - 1 : link] = True
        return np.flatnonzero(np.append(np.ones(self.members, dtype=bool), taking_part_P))


@dataclass(frozen=True)
class Values:
    """All in bits per byte, out of fold. Row vectors are infinite where a version gave an event no probability.

    gain: G, of p over q. new_bits_A: φ of the admitted versions. share_bits_N: whose p is, from the baseline (0 without
    weight). trial_gain_T: of each new version alone on top of q. remote_gain_P: of each remote peer, on top of the
    members and of who was admitted before it.
    """

    gain: float
    gain_se: float
    baseline_bits_per_byte: float
    known_bits_per_byte: float
    collective_bits_per_byte: float
    bits_per_byte_N: Array
    remote_gain_P: Array
    remote_gain_se_P: Array
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

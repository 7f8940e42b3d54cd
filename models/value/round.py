"""A round: what each version said about each event of an epoch's held-out text, as columns.

Invariants: log-probabilities are whole multiples of 1/1024 bit, so that everybody values the same numbers; row 0 is the
baseline; a document lies in one fold and one stratum, and both folds have documents; a uid tries at most one version
or is one remote peer; a row is at most one of member, remote and new.

Legend: N rows (versions), M events, S strata, D documents.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.value.errors import RoundError
from models.value.events import Array, Events

UNITS_PER_BIT = 1024
ZERO = -(2**31)
"""What stands in the matrix for probability 0."""
BASELINE_UID = -1
"""The uid of rows that belong to nobody: the baseline and the commons."""
HASH_BYTES = 32
MINIMUM_DOCUMENTS = 2
"""Documents per fold: a standard error by document needs two."""


def quantise(log_probability: NDArray[np.floating]) -> NDArray[np.int32]:
    """Natural log-probabilities of any shape, as log2 in units of 1/1024 bit; −inf becomes ZERO.

    Raises RoundError where one is not a number, or above 0 after rounding.
    """
    units = np.rint(np.asarray(log_probability, dtype=np.float64) * (UNITS_PER_BIT / np.log(2.0)))
    wrong = np.isnan(units) | (units > 0)
    if wrong.any():
        raise RoundError(f"{int(wrong.sum())} of {units.size} log-probabilities are above 0 or not a number")
    whole: NDArray[np.int32] = np.maximum(units, ZERO).astype(np.int32)
    return whole


@dataclass(frozen=True)
class Round:
    """The columns of a round. Rows stand in order: baseline, members, remote peers as they were registered, new
    versions as they were published, what is only measured.

    matrix_NM: int32, of `quantise`. manifests: 32 bytes a row, a remote peer's is its hotkey. uid_N: BASELINE_UID for
    the baseline and commons. member_N: in the collective of the last close block (the baseline is). new_N: published
    since, to be tried. remote_N: answered from elsewhere, as whatever it is today; none where left out. bytes_M: bytes
    of text of an event. Raises RoundError where columns contradict.
    """

    matrix_NM: NDArray[np.int32]
    manifests: tuple[bytes, ...]
    uid_N: NDArray[np.integer]
    member_N: NDArray[np.bool_]
    new_N: NDArray[np.bool_]
    stratum_M: NDArray[np.integer]
    document_M: NDArray[np.integer]
    fold_M: NDArray[np.integer]
    bytes_M: NDArray[np.integer]
    strata: tuple[str, ...]
    remote_N: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if not self.remote_N.size:
            object.__setattr__(self, "remote_N", np.zeros(len(self.matrix_NM), dtype=bool))
        self._check_shapes()
        self._check_rows()
        self._check_events()

    def _check_shapes(self) -> None:
        if self.matrix_NM.ndim != 2 or self.matrix_NM.dtype != np.int32:
            raise RoundError(
                f"the matrix must be int32 [rows, events], not {self.matrix_NM.dtype} {self.matrix_NM.shape}"
            )
        rows, events = self.matrix_NM.shape
        for name, wanted in (("uid_N", rows), ("member_N", rows), ("new_N", rows), ("remote_N", rows)):
            if getattr(self, name).shape != (wanted,):
                raise RoundError(f"{name} has shape {getattr(self, name).shape}, the matrix has {rows} rows")
        for name in ("stratum_M", "document_M", "fold_M", "bytes_M"):
            if getattr(self, name).shape != (events,):
                raise RoundError(f"{name} has shape {getattr(self, name).shape}, the matrix has {events} events")

    def _check_rows(self) -> None:
        rows = len(self.matrix_NM)
        if len(self.manifests) != rows or any(len(manifest) != HASH_BYTES for manifest in self.manifests):
            raise RoundError(f"there must be {rows} manifest hashes of {HASH_BYTES} bytes, one a row")
        if not rows or not self.member_N[0] or self.uid_N[0] != BASELINE_UID:
            raise RoundError(f"row 0 must be the baseline: a member with uid {BASELINE_UID}")
        trying = self.uid_N[self.new_N]
        if np.any(trying < 0):
            raise RoundError("a new version belongs to a uid; the baseline and commons are never new")
        if np.unique(trying).size < trying.size:
            raise RoundError("a uid tries at most one new version an epoch: keep its last")
        answering = self.uid_N[self.remote_N]
        if np.any(answering < 0) or np.unique([*trying, *answering]).size < trying.size + answering.size:
            raise RoundError("a remote peer belongs to a uid, which has one row as such and no new version")
        if np.any(self.member_N.astype(int) + self.new_N + self.remote_N > 1):
            raise RoundError("a row is at most one of member, remote peer and new version")
        if self.matrix_NM.size and self.matrix_NM.max() > 0:
            raise RoundError("the matrix has a log-probability above 0")

    def _check_events(self) -> None:
        for fold in (0, 1):
            found = int(np.sum(self.events.fold_D == fold))
            if found < MINIMUM_DOCUMENTS:
                raise RoundError(
                    f"fold {fold} has {found} documents, {MINIMUM_DOCUMENTS} are needed: draw more windows"
                )

    @cached_property
    def events(self) -> Events:
        """How the events hang together: their blocks are the documents."""
        block_M = np.unique(self.document_M, return_inverse=True)[1].reshape(-1).astype(np.int64)
        stratum_M, fold_M = self.stratum_M.astype(np.int64), self.fold_M.astype(np.int64)
        return Events(stratum_M, block_M, fold_M, self.bytes_M.astype(np.int64), len(self.strata))

    @cached_property
    def log_probability_NM(self) -> Array:
        """Natural logarithms, −inf where the matrix says ZERO."""
        log_probability_NM: Array = self.matrix_NM * (np.log(2.0) / UNITS_PER_BIT)
        log_probability_NM[self.matrix_NM == ZERO] = -np.inf
        return log_probability_NM

    @property
    def member_rows(self) -> NDArray[np.intp]:
        """Rows of the collective as it was, the baseline first."""
        return np.flatnonzero(self.member_N)

    @property
    def remote_rows(self) -> NDArray[np.intp]:
        """Rows of remote peers, as they were registered."""
        return np.flatnonzero(self.remote_N)

    @property
    def new_rows(self) -> NDArray[np.intp]:
        """Rows to be tried, as they were published."""
        return np.flatnonzero(self.new_N)

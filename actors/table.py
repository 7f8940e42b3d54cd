"""From signed answers to one validator's table of log-probabilities, and the reasons of those who are not in it.

Invariants:
* a row is whole or absent: one bad or missing batch of a version leaves the version out, with the reason;
* what the collective knew is never paid again: when one of its members cannot be asked, nobody is new this epoch, and
  remote peers are only measured.

Legend: W windows, N rows, M events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.answers import gather
from actors.laid import Laid
from actors.next_byte import lay_next_byte
from actors.rows import Row
from actors.segments import lay_segments
from actors.wire import Answer, Query
from ledger.extrinsics import BASELINE_MANIFEST
from models.text.windows import Windows
from models.value.panel import looked_up
from models.value.round import UNITS_PER_BIT, Round


@dataclass(frozen=True)
class Asked:
    """What came of the questions.

    Attributes:
        round_: the table that is valued.
        rows: what stands in its rows after the baseline.
        window_M, offset_M: each event's window, and its first byte there.
        failures: for each uid whose present version has no row why, as "late|dead|invalid|refused: sentence".
        aside: by uid, bits per byte of a present version that is only measured, by its own tokens.
        looked_up: by uid, windows that its versions predict above 0.99 per byte where nobody else exceeds 0.5.
    """

    round_: Round
    rows: tuple[Row, ...]
    window_M: NDArray[np.int32]
    offset_M: NDArray[np.int32]
    failures: dict[int, str] = field(default_factory=dict)
    aside: dict[int, float] = field(default_factory=dict)
    looked_up: dict[int, int] = field(default_factory=dict)

    @property
    def answered(self) -> frozenset[int]:
        """The uids whose present version answered."""
        return frozenset([*self.aside, *(row.uid for row in self.rows if row.present)])


def assemble(
    *,
    rows: Sequence[Row],
    owners: Mapping[int, bytes],
    operator: bytes,
    query: Query,
    windows: Windows,
    baseline_256: NDArray[np.float64],
    strata: tuple[str, ...],
    answers: Sequence[Answer],
    failures: Mapping[bytes, str],
) -> Asked:
    """Check every answer to this query and lay out the table.

    Args:
        rows: the versions that were asked, in the table's order.
        owners: hotkeys by uid.
        operator: the key that may answer for versions whose publisher is gone.
        windows: as they were drawn, with the bytes that the query holds back.
        baseline_256: natural log-probabilities of the bytes under p_0.
        failures: by manifest, why the pool has no answer.

    Raises:
        RoundError: nothing can be valued.
    """
    said, lost = gather(rows, answers, query, owners=owners, operator=operator, failures=failures)
    lay = lay_segments if query.panel == "segments" else lay_next_byte
    laid = lay(rows, said, windows, baseline_256)
    lost |= laid.lost
    whole = all(row.manifest not in lost for row in rows if row.member)
    round_ = Round(
        matrix_NM=laid.matrix_NM,
        manifests=(BASELINE_MANIFEST, *(row.manifest for row in laid.rows)),
        uid_N=np.array([-1, *(row.uid for row in laid.rows)], dtype=np.int32),
        member_N=np.array([True, *(row.member for row in laid.rows)]),
        remote_N=np.array([False, *(row.remote and whole for row in laid.rows)]),
        new_N=np.array([False, *(row.new and whole for row in laid.rows)]),
        stratum_M=windows.stratum_W[laid.window_M],
        document_M=windows.document_W[laid.window_M],
        fold_M=windows.fold_W[laid.window_M],
        bytes_M=laid.bytes_M,
        strata=strata,
    )
    return Asked(
        round_=round_,
        rows=laid.rows,
        window_M=laid.window_M,
        offset_M=laid.offset_M,
        failures={row.uid: lost[row.manifest] for row in rows if row.manifest in lost and row.present},
        aside={row.uid: bits for row, bits in laid.aside.items() if row.present},
        looked_up=_looked_up(laid, len(windows.text_WT)),
    )


def _looked_up(laid: Laid, windows: int) -> dict[int, int]:
    log_probability_NM = laid.matrix_NM * (np.log(2.0) / UNITS_PER_BIT)
    uids = [row.uid for row in laid.rows]
    found = looked_up(log_probability_NM, laid.window_M, laid.bytes_M, windows=windows, owner_N=[-1, *uids])
    return {uid: found.known[uid] for uid in uids if found.known[uid]}

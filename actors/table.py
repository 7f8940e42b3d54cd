"""From signed answers to one validator's table of log-probabilities, and the reasons of those who are not in it.

Invariants:
* a row is whole or absent: one bad or missing batch of a version leaves the version out, with the reason;
* what the collective knew is never paid again: when one of its members cannot be asked, nobody is new this epoch.

Legend: W windows, E events a window, N rows, M = W·E events.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.rows import Row
from actors.wire import Answer, Query, WireError, check_answer
from ledger.extrinsics import BASELINE_MANIFEST
from models.text.windows import Windows
from models.value.errors import RoundError
from models.value.round import Round, quantise


@dataclass(frozen=True)
class Asked:
    """What came of the questions.

    Attributes:
        round_: the table that is valued.
        rows: what stands in its rows after the baseline.
        failures: for each uid whose present version has no row why, as "late|dead|invalid: sentence".
    """

    round_: Round
    rows: tuple[Row, ...]
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def answered(self) -> frozenset[int]:
        """The uids whose present version answered."""
        return frozenset(row.uid for row in self.rows if row.present)


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
        baseline_256: natural log-probabilities of the bytes under p_0.
        failures: by manifest, why the pool has no answer.

    Raises:
        RoundError: nothing can be valued.
    """
    batches: dict[bytes, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.query == query.digest:
            batches[answer.version].append(answer)
    kept: list[Row] = []
    columns = [quantise(baseline_256[windows.text_WT[:, 1:]].ravel())]
    lost: dict[bytes, str] = dict(failures)
    for row in rows:
        if row.manifest in lost:
            continue
        try:
            columns.append(_column(row, batches[row.manifest], query, {owners.get(row.uid, operator), operator}))
            kept.append(row)
        except (WireError, RoundError) as error:
            lost[row.manifest] = f"invalid: {error}"
    whole = all(row.manifest not in lost for row in rows if row.member)
    width = windows.text_WT.shape[1] - 1
    round_ = Round(
        matrix_NM=np.stack(columns),
        manifests=(BASELINE_MANIFEST, *(row.manifest for row in kept)),
        uid_N=np.array([-1, *(row.uid for row in kept)], dtype=np.int32),
        member_N=np.array([True, *(row.member for row in kept)]),
        new_N=np.array([False, *(row.new and whole for row in kept)]),
        stratum_M=np.repeat(windows.stratum_W, width),
        document_M=np.repeat(windows.document_W, width),
        fold_M=np.repeat(windows.fold_W, width),
        bytes_M=np.ones(windows.text_WT.shape[0] * width, dtype=np.int32),
        strata=strata,
    )
    silent = {row.uid: lost[row.manifest] for row in rows if row.manifest in lost and row.present}
    return Asked(round_, tuple(kept), silent)


def _column(row: Row, batches: Sequence[Answer], query: Query, signers: set[bytes]) -> NDArray[np.int32]:
    windows, width = query.text_WT.shape
    column_WE = np.zeros((windows, width - 1), dtype=np.int32)
    seen_W = np.zeros(windows, dtype=bool)
    for answer in batches:
        check_answer(answer, query, version=row.manifest, signers=signers)
        span = slice(answer.first, answer.first + len(answer.log_probability_WE))
        column_WE[span] = quantise(answer.log_probability_WE)
        seen_W[span] = True
    if not seen_W.all():
        raise WireError(f"{int((~seen_W).sum())} of {windows} windows have no answer")
    return column_WE.ravel()

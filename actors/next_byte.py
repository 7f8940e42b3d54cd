"""The next_byte panel: distributions of the byte that was held back, one event a window.

Invariants:
* what is no distribution, is certain and wrong, or is what another said before, has no row, and the others' rows are
  what they would be without it;
* members of the collective are refused for what is no distribution only: what was paid for is not taken back because
  of what newcomers answer;
* of two that answer the same the earlier counts: members, remote peers as they were registered, new versions as they
  were published. What is only measured stands last, and repeats whom it likes;
* a remote peer refuses no hosted version for knowing too much: it may answer to that end.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actors.laid import Laid
from actors.rows import Row
from actors.wire import Said
from models.text.align import Scores
from models.text.windows import Windows
from models.value.errors import RoundError
from models.value.panel import (
    check_certainty,
    check_distributions,
    check_looked_up,
    find_original,
    looked_up,
    mark_windows,
    target_column,
)
from models.value.round import quantise


def lay_next_byte(
    rows: Sequence[Row], said: Mapping[bytes, Said], windows: Windows, baseline_256: NDArray[np.float64]
) -> Laid:
    """What each version gave to the last byte of each window.

    Args:
        rows: the versions and remote peers that were asked; `said` has what those say that answered.
    """
    target_W = windows.text_WT[:, -1]
    kept: list[Row] = []
    columns = [baseline_256[target_W]]
    marks: list[NDArray[np.uint64]] = []
    lost: dict[bytes, str] = {}
    for row in sorted(rows, key=_standing):
        body = said.get(row.manifest)
        if body is None or isinstance(body, Scores):
            continue
        try:
            check_distributions(body)
            marks_W = mark_windows(body)
            if not row.member:
                _check_own(row, body, target_W, marks_W, kept, marks)
        except RoundError as error:
            lost[row.manifest] = f"invalid: {error}"
            continue
        kept.append(row)
        marks.append(marks_W)
        columns.append(target_column(body, target_W))
    for index, reason in _looked_up(kept, columns).items():
        lost[kept[index].manifest] = f"invalid: {reason}"
    in_table = [index for index, row in enumerate(kept) if row.manifest not in lost]
    count = len(target_W)
    return Laid(
        rows=tuple(kept[index] for index in in_table),
        matrix_NM=np.stack([quantise(columns[index]) for index in (0, *(index + 1 for index in in_table))]),
        window_M=np.arange(count, dtype=np.int32),
        offset_M=np.full(count, windows.text_WT.shape[1] - 1, dtype=np.int32),
        bytes_M=np.ones(count, dtype=np.int32),
        lost=lost,
    )


def _standing(row: Row) -> int:
    """The order of the table's rows; those of one standing stay as they were asked."""
    return [row.member, row.remote, row.new, True].index(True)


def _check_own(
    row: Row,
    body: NDArray[np.float32],
    target_W: NDArray[np.uint8],
    marks_W: NDArray[np.uint64],
    kept: Sequence[Row],
    marks: Sequence[NDArray[np.uint64]],
) -> None:
    check_certainty(body, target_W)
    if not (row.remote or row.new):
        return
    others = [index for index, other in enumerate(kept) if other.uid != row.uid]
    original = find_original(marks_W, [marks[index] for index in others])
    if original is not None:
        raise RoundError(f"the same answers as uid {kept[others[original]].uid}")


def _looked_up(kept: Sequence[Row], columns: Sequence[NDArray[np.float64]]) -> dict[int, str]:
    """By index among the kept rows why it goes: it knows what nobody else knows, or of hosted versions no other one."""
    hosted = [index for index, row in enumerate(kept) if not row.remote]
    reasons = _known_alone(kept, columns, hosted)
    if len(hosted) < len(kept):
        among_all = _known_alone(kept, columns, list(range(len(kept))))
        reasons |= {index: reason for index, reason in among_all.items() if kept[index].remote}
    return reasons


def _known_alone(kept: Sequence[Row], columns: Sequence[NDArray[np.float64]], among: Sequence[int]) -> dict[int, str]:
    window_W = np.arange(len(columns[0]))
    found = looked_up(
        [columns[0], *(columns[index + 1] for index in among)],
        window_W,
        np.ones_like(window_W),
        windows=len(window_W),
        owner_N=[-1, *(kept[index].uid for index in among)],
    )
    reasons = {}
    for index in among:
        try:
            check_looked_up(found.known[kept[index].uid], found.alone[kept[index].uid])
        except RoundError as error:
            if not kept[index].member:
                reasons[index] = str(error)
    return reasons

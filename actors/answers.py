"""From signed answers to what each version says of a whole query.

Invariants: an answer is whole or none: one bad or missing batch of a version leaves the version out, with the reason.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from actors.rows import Row
from actors.wire import Answer, Query, Said, WireError, check_answer
from models.text.align import Scores, join_scores


def gather(
    rows: Sequence[Row],
    answers: Sequence[Answer],
    query: Query,
    *,
    owners: Mapping[int, bytes],
    operator: bytes,
    failures: Mapping[bytes, str],
) -> tuple[dict[bytes, Said], dict[bytes, str]]:
    """What each version says of all windows, by manifest; and why the others say nothing.

    Args:
        owners: hotkeys by uid.
        operator: the key that may answer for hosted versions, whose publisher may be gone; never for remote peers.
        failures: by manifest, why the pool has no answer: that stands, even where some batches came.
    """
    batches: dict[bytes, list[Answer]] = defaultdict(list)
    digest = query.digest
    for answer in answers:
        if answer.query == digest:
            batches[answer.version].append(answer)
    said: dict[bytes, Said] = {}
    lost = dict(failures)
    for row in rows:
        if row.manifest in lost:
            continue
        try:
            said[row.manifest] = _whole(row, batches[row.manifest], query, _signers(row, owners, operator))
        except WireError as error:
            lost[row.manifest] = f"invalid: {error}"
    return said, lost


def _signers(row: Row, owners: Mapping[int, bytes], operator: bytes) -> set[bytes]:
    """Who may speak for a version; for a remote peer nobody but itself."""
    return {row.manifest} if row.remote else {owners.get(row.uid, operator), operator}


def _whole(row: Row, batches: Sequence[Answer], query: Query, signers: set[bytes]) -> Said:
    for answer in batches:
        check_answer(answer, query, version=row.manifest, signers=signers)
    ordered = sorted(batches, key=lambda answer: answer.first)
    windows, answered = len(query.text_WT), 0
    for answer in ordered:
        if answer.first != answered:
            break
        answered += answer.windows
    if answered != windows:
        seen_W = np.zeros(windows, dtype=bool)
        for answer in batches:
            seen_W[answer.first : answer.first + answer.windows] = True
        missing = int((~seen_W).sum())
        raise WireError(f"{missing} of {windows} windows have no answer" if missing else "windows are answered twice")
    said = [answer.said for answer in ordered]
    scores = [part for part in said if isinstance(part, Scores)]
    return join_scores(scores) if scores else np.concatenate([part for part in said if not isinstance(part, Scores)])

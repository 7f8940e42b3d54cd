"""The segments panel: what models with any tokenizers say of whole windows, laid on common events.

Invariants:
* members and new versions fix the events; who is only measured changes nothing for the others;
* a member of the collective is never refused for what another's tokenizer does, so that no newcomer pushes out what
  was paid for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actors.laid import Laid
from actors.rows import Row
from actors.wire import Said
from models.text.align import Scores, Segments, align, baseline_row, byte_scores, lay_on
from models.text.windows import Windows
from models.value.round import quantise


def lay_segments(
    rows: Sequence[Row], said: Mapping[bytes, Said], windows: Windows, baseline_256: NDArray[np.float64]
) -> Laid:
    """The events that the versions share, and what each says of them.

    Args:
        rows: the versions that were asked; `said` has what those say that answered.
    """
    texts = [text.tobytes() for text in windows.text_WT]
    scores = {row: body for row in rows if isinstance(body := said.get(row.manifest), Scores)}
    deciding = [row for row in scores if row.member or row.new]
    segments = _align(deciding, scores, texts)
    laid = {deciding[index]: segments.log_probability_NM[at] for at, index in enumerate(segments.kept)}
    lost = {deciding[index].manifest: f"refused: {error}" for index, error in segments.refused.items()}
    if not laid:
        segments = align([byte_scores(baseline_256[windows.text_WT[:, 1:]].astype(np.float32))], texts)
    aside = {}
    for row in scores.keys() - set(deciding):
        column_M = lay_on(segments, scores[row], texts)
        if column_M is None:
            aside[row] = bits_per_byte(scores[row])
        else:
            laid[row] = column_M
    kept = tuple(row for row in rows if row in laid)
    columns = [baseline_row(segments, texts, baseline_256), *(laid[row] for row in kept)]
    return Laid(
        rows=kept,
        matrix_NM=np.stack([quantise(np.minimum(column, 0.0)) for column in columns]),
        window_M=segments.window_M,
        offset_M=segments.offset_M,
        bytes_M=segments.bytes_M,
        lost=lost,
        aside=aside,
    )


def _align(deciding: Sequence[Row], scores: Mapping[Row, Scores], texts: Sequence[bytes]) -> Segments:
    members = [index for index, row in enumerate(deciding) if row.member]
    return align([scores[row] for row in deciding], texts, protected=members)


def bits_per_byte(scores: Scores) -> float:
    """Of a model by its own cuts, from each window's first to its last; infinite where it gave what came none."""
    cuts_W = np.diff(scores.start_W)
    first_W, last_W = scores.start_W[:-1][cuts_W > 0], scores.start_W[1:][cuts_W > 0] - 1
    covered = int((scores.cut_C[last_W] - scores.cut_C[first_W]).sum())
    nats = float(scores.log_probability_C.sum(dtype=np.float64) - scores.log_probability_C[first_W].sum())
    return -nats / np.log(2.0) / covered if covered else float("inf")

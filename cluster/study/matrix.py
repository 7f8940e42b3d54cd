"""The matrix of an evaluation as an Arrow file: one row an event, one column a model, for whoever wants to compute
with it.

Invariants: written in batches, so that a matrix larger than memory can be; columns of models bear their names.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from cluster.study.candidates import Candidate
from cluster.study.valuing import Aligned
from models.text.corpus import Corpus
from models.text.windows import Windows

BATCH_EVENTS = 1 << 16


def write_matrix(
    path: Path, aligned: Aligned, candidates: Sequence[Candidate], corpus: Corpus, windows: Windows
) -> None:
    """Write natural log-probabilities of every event, with where it is. Raises OSError."""
    segments = aligned.segments
    names = [candidates[index].name for index in aligned.kept]
    fields = [
        ("window", pa.int32()),
        ("offset", pa.int32()),
        ("bytes", pa.int32()),
        ("stratum", pa.dictionary(pa.int32(), pa.string())),
        ("document", pa.binary(32)),
        ("fold", pa.int8()),
        ("log_baseline", pa.float64()),
    ]
    schema = pa.schema([*fields, *((f"log_probability {name}", pa.float64()) for name in names)])
    strata = pa.array(corpus.strata)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for first in range(0, len(segments.bytes_M), BATCH_EVENTS):
            part = slice(first, first + BATCH_EVENTS)
            window = segments.window_M[part]
            columns = [
                pa.array(window),
                pa.array(segments.offset_M[part]),
                pa.array(segments.bytes_M[part]),
                pa.DictionaryArray.from_arrays(pa.array(windows.stratum_W[window], pa.int32()), strata),
                pa.array([row.tobytes() for row in windows.document_hash_W[window]], pa.binary(32)),
                pa.array(windows.fold_W[window], pa.int8()),
                pa.array(aligned.log_baseline_M[part]),
                *(pa.array(row[part]) for row in aligned.log_probability_NM),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))

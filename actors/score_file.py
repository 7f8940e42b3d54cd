"""Files of scores: what one model says of some windows, one row a window, so that it is never asked twice.

Invariants: a file appears whole or not at all; it is read through a memory map, so that many models' scores cost no
memory; who made it knows its name: nothing here looks at what was scored.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from models.text.align import Scores, join_scores

SCHEMA = pa.schema([("cut", pa.large_list(pa.int32())), ("log_probability", pa.large_list(pa.float32()))])
FACTS = b"taoray"


class ScoreFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else is known of the model and of the scoring: parameters, context in tokens, seconds that it took."""

    parameters: int
    context_tokens: int
    seconds: float


def write_scores(path: Path, scores: Scores, facts: ScoreFacts) -> None:
    """Write one file, in the place of an older one. Raises OSError."""
    offsets = pa.array(scores.start_W, pa.int64())
    columns = [
        pa.LargeListArray.from_arrays(offsets, pa.array(values, kind))
        for values, kind in ((scores.cut_C, pa.int32()), (scores.log_probability_C, pa.float32()))
    ]
    schema = SCHEMA.with_metadata({FACTS: msgspec.json.encode(facts)})
    waiting = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with pa.OSFile(str(waiting), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)


def read_scores(path: Path) -> tuple[Scores, ScoreFacts] | None:
    """What a file holds, by memory map, or None where there is none that can be used."""
    try:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            batch = reader.get_batch(0)
            facts = msgspec.json.decode(reader.schema.metadata[FACTS], type=ScoreFacts)
        cut, log_probability = batch.column("cut"), batch.column("log_probability")
    except (OSError, KeyError, TypeError, pa.ArrowException, msgspec.MsgspecError):
        return None
    scores = Scores(
        cut_C=cut.values.to_numpy(), start_W=cut.offsets.to_numpy(), log_probability_C=log_probability.values.to_numpy()
    )
    return scores, facts


def join_files(parts: Sequence[tuple[Scores, ScoreFacts]]) -> tuple[Scores, ScoreFacts]:
    """The parts of one model's windows, in their order, as one."""
    first = parts[0][1]
    facts = ScoreFacts(first.parameters, first.context_tokens, sum(facts.seconds for _, facts in parts))
    return join_scores([scores for scores, _ in parts]), facts

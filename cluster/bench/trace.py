"""A query phase as a Chrome trace: the driver's, the hosts' and the validators' spans, one row each.

Invariants: every span that a process told is in the file, at its own time; rows are in the order given. The file opens
in chrome://tracing and in Perfetto.

Source: Trace Event Format (Google, 2016), "complete events" and "metadata events".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.spans import Span


def write_spans(path: Path, rows: Mapping[str, Sequence[Span]]) -> None:
    """Write the spans of each row, by its name; times count from the first one's beginning. Raises OSError."""
    first_s = min((span.began_s for spans in rows.values() for span in spans), default=0.0)
    events: list[dict[str, Any]] = []
    for number, (name, spans) in enumerate(rows.items()):
        events.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}})
        events.append({"ph": "M", "name": "process_sort_index", "pid": number, "args": {"sort_index": number}})
        events += [
            {
                "ph": "X",
                "name": span.name,
                "pid": number,
                "tid": 0,
                "ts": (span.began_s - first_s) * 1e6,
                "dur": span.seconds * 1e6,
            }
            for span in spans
        ]
    path.write_bytes(msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms"}))


def share_of(spans: Sequence[Span], name: str, seconds: float) -> float:
    """What part of so many seconds the spans of a name take; spans of one name in a row do not overlap."""
    return sum(span.seconds for span in spans if span.name == name) / seconds

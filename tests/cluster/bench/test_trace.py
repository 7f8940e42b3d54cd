"""A trace holds every span at its time, in rows that have their names."""

import json
from pathlib import Path

import pytest

from actors.spans import Span, Spans
from cluster.bench.trace import share_of, write_spans


def test_spans_are_taken_in_their_order_and_when_work_fails_too() -> None:
    spans = Spans()
    with pytest.raises(ValueError, match="no"), spans.taken("outer"), spans.taken("inner"):
        raise ValueError("no")
    inner, outer = spans
    assert (inner.name, outer.name) == ("inner", "outer")
    assert outer.began_s <= inner.began_s <= inner.ended_s <= outer.ended_s


def test_a_trace_has_a_row_a_process_and_counts_from_the_first_span(tmp_path: Path) -> None:
    rows = {"driver": [Span("wait", 100.5, 101.0)], "host-0": [Span("score", 100.25, 100.75), Span("sign", 101, 102)]}
    write_spans(tmp_path / "trace.json", rows)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    found = [(names[e["pid"]], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert found == [
        ("driver", "wait", 250_000.0, 500_000.0),
        ("host-0", "score", 0.0, 500_000.0),
        ("host-0", "sign", 750_000.0, 1_000_000.0),
    ]
    assert share_of(rows["host-0"], "score", 2.0) == 0.25


def test_a_trace_of_nothing_is_a_trace(tmp_path: Path) -> None:
    write_spans(tmp_path / "trace.json", {"driver": []})
    assert len(json.loads((tmp_path / "trace.json").read_text())["traceEvents"]) == 2

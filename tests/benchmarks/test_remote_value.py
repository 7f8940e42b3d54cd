"""What remote peers are paid: the record's aims."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_record_says_that_the_aims_hold() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "remote_value.json").read_text(encoding="utf-8"))
    lines = record["measured"]["scenarios"]
    assert {line["kind"] for line in lines} == {"copy", "plot", "shown"}
    for line in lines:
        if line["kind"] == "copy":
            assert line["share"] <= 0.01
            assert line["largest_move"] <= 0.01
        if line["kind"] == "plot":
            assert line["share"] <= line["share_without"] + 0.01

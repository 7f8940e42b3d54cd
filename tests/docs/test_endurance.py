"""docs/endurance.md against the records that its tables are made from."""

import json
from typing import Any

from benchmarks.draw_endurance import PAGE, RESULTS, TABLES, rendered
from benchmarks.slow_peers import CASES


def measured(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())["measured"]


def test_the_tables_are_those_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page
    assert all(f"<!-- table: {name} -->" in page for name in TABLES)


def test_the_soak_was_long_and_opened_no_more_files() -> None:
    found = measured("soak")
    assert found["epochs"] >= 1000
    assert not any(row["grows"] for name, row in found["series"].items() if name.endswith(" files"))
    assert not found["series"]["object_store_bytes"]["grows"]
    assert not found["series"]["home evidence_bytes"]["grows"]


def test_slow_and_frozen_ones_kept_no_epoch_and_cost_nobody_else_a_rao() -> None:
    found = measured("slow_peers")
    assert not found["failed"]
    assert set(found["cases"]) <= set(CASES)
    assert all(case["in_time"] and case.get("paid_alike", True) for case in found["cases"].values())

"""docs/faults.md against the records that its tables are made from."""

import json

import pytest

from benchmarks.chaos_kills import DRIVER, NODE_KINDS
from benchmarks.draw_faults import PAGE, RESULTS, TABLES, rendered

NOTHING_WRONG = ("blocks_lost", "blocks_doubled", "supply_mismatches", "queries_unaccounted_for")


def test_the_tables_are_those_of_the_records() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page
    assert all(f"<!-- table: {name} -->" in page for name in TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_records_say_that_nothing_was_lost(name: str) -> None:
    found = json.loads((RESULTS / f"{name}.json").read_text())["measured"]
    assert [found[field] for field in NOTHING_WRONG] == [0] * len(NOTHING_WRONG)


def test_each_kind_was_killed() -> None:
    found = json.loads((RESULTS / "chaos.json").read_text())["measured"]
    assert set(found["kills_by_kind"]) == {"host", "validator", "keeper", DRIVER, *NODE_KINDS}
    assert found["kills"] == sum(found["kills_by_kind"].values())

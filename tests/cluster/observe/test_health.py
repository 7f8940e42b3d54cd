"""Health: what is looked at, and when each is not well."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cluster.config import load_network
from cluster.lease import Holder
from cluster.observe.health import Heights, check_health, longest_epoch_s

HOLDER = Holder("host", 7, 0.0)


def bad(**seen: object) -> list[str]:
    well = {"height": 5, "why": "", "holder": HOLDER, "age_s": 10.0, "longest_s": 100.0}
    health = check_health(**(well | seen))
    assert health.ready == all(check.ok for check in health.checks)
    assert all(check.sentence for check in health.checks)
    return [check.name for check in health.checks if not check.ok]


@pytest.mark.parametrize(
    ("seen", "names"),
    [
        ({}, []),
        ({"longest_s": None, "age_s": 1e9}, []),
        ({"age_s": 101.0}, ["progress"]),
        ({"holder": None}, ["driver"]),
        ({"height": None, "why": "the ledger cannot be read: damaged"}, ["ledger", "progress"]),
    ],
)
def test_what_is_not_well_is_named(seen: dict[str, object], names: list[str]) -> None:
    assert bad(**seen) == names


def test_a_height_stands_since_it_was_last_seen_to_change() -> None:
    now = [100.0]
    heights = Heights(lambda: now[0])
    now[0] = 130.0
    assert heights.age_s(4) == 30.0, "what stood at the start counts from there"
    now[0] = 140.0
    assert heights.age_s(5) == 0.0
    now[0] = 155.0
    assert heights.age_s(5) == 15.0
    assert heights.age_s(4) == 0.0, "a head that gave way is a change too"


def test_an_epoch_takes_at_most_what_its_deadlines_say(tiny_toml: Path) -> None:
    network = load_network(tiny_toml)
    longest_s = longest_epoch_s(network)
    for field in network.deadlines.__struct_fields__:
        more = replace(network.deadlines, **{field: getattr(network.deadlines, field) + 10})
        grown_s = longest_epoch_s(replace(network, deadlines=more)) - longest_s
        assert grown_s >= 10 or field == "task_s", field

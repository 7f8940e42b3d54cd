"""docs/throughput.md against the code: every setting of every work with its default, and every preset."""

import re
from pathlib import Path

import msgspec
import pytest

from cluster.bench.run import SCORED_LENGTH, TRAINED_LENGTH, USUAL_DTYPE, USUAL_MODEL, VALUED_EVENTS
from cluster.bench.settings import WORKS
from models.bench.line import Line
from models.bench.presets import PRESETS
from models.bench.report import Report

SECTION = (
    (Path(__file__).parents[2] / "docs" / "throughput.md").read_text(encoding="utf-8").partition("\n## Settings\n")
)
ROWS = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| ([^|]+) \| [^|]+ \|$", SECTION[2], flags=re.MULTILINE)
BY_DEVICE = {
    ("score", "dtype"): USUAL_DTYPE,
    ("train", "dtype"): USUAL_DTYPE,
    ("score", "length"): SCORED_LENGTH,
    ("train", "length"): TRAINED_LENGTH,
    ("value", "events"): VALUED_EVENTS,
}


def default_words(work: str, field: msgspec.structs.FieldInfo) -> str:
    if by_device := BY_DEVICE.get((work, field.name)):
        cpu, gpu = (f"{value:,}" if isinstance(value, int) else value for value in by_device.values())
        return f"{cpu} on a CPU, {gpu} on a GPU"
    if (work, field.name) == ("train", "update_parameters"):
        return "the model's"
    return f"`{msgspec.json.encode(field.default).decode()}`"


@pytest.mark.parametrize("work", WORKS)
def test_settings_and_their_defaults(work: str) -> None:
    written = [(name, default) for name, works, default in ROWS if work in works.split(", ")]
    expected = [(field.name, default_words(work, field)) for field in msgspec.structs.fields(WORKS[work])]
    assert sorted(written) == sorted(expected)


def test_every_preset_stands_there_and_which_is_taken() -> None:
    listed = SECTION[2].partition("\n### Presets\n")[2].partition("\n### ")[0]
    assert re.findall(r"^\| `([\w.-]+)` \|", listed, flags=re.MULTILINE) == list(PRESETS)
    assert f"`{USUAL_MODEL['cpu']}` on a CPU, `{USUAL_MODEL['cuda']}` on a GPU" in " ".join(listed.split())


def test_fields_of_the_record() -> None:
    table = SECTION[2].partition("\n### The record\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE))
    fields = {name for names in rows for name in re.findall(r"`(\w+)`", names)}
    assert fields == set(Report.__struct_fields__)
    assert set(re.findall(r"`(\w+)`", rows["`lines`"])) == set(Line.__struct_fields__)

"""docs/command_line.md against the code: every field of the document of a run, and the folders of a home."""

import re
from pathlib import Path

import pytest

import taoray
from cluster.home import Home
from cluster.report import EpochRecord, MemberRecord, NeuronRecord, RoundRecord

PAGE = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")


def fields_below(header: str) -> set[str]:
    """The names in the first column of the table with this header."""
    table = PAGE.partition(f"| {header} | |\n")[2].partition("\n\n")[0]
    return {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("field", set(taoray.RunReport.__dataclass_fields__)),
        ("field of an epoch", set(EpochRecord.__struct_fields__) - {"neurons"}),
        ("field of a round", set(RoundRecord.__struct_fields__)),
        ("field of a member", set(MemberRecord.__struct_fields__)),
        ("field of a neuron", set(NeuronRecord.__struct_fields__)),
    ],
)
def test_fields_of_the_document_of_a_run(header: str, fields: set[str]) -> None:
    assert fields_below(header) == fields


def test_what_is_in_a_home() -> None:
    home = Home(Path("/home"))
    written = PAGE.partition("## The home")[2]
    paths = [getattr(home, name) for name, value in vars(Home).items() if isinstance(value, property)]
    assert [path.name for path in paths if f"{path.name}" not in written] == []

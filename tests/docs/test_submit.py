"""docs/submit.md against the code: the command's own codes, the fields of what it prints."""

import re
from pathlib import Path

import pytest

import taoray

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "submit.md").read_text(encoding="utf-8")


def test_the_codes_are_those_that_are_raised() -> None:
    table = PAGE.partition("## What the command itself refuses")[2].partition("\n## ")[0]
    written = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))
    sources = "".join((ROOT / "cluster" / f"{name}.py").read_text() for name in ("desk", "submit", "withdraw"))
    assert written == set(re.findall(r'SubmissionRefused\(\s*"(\w+)"', sources))


@pytest.mark.parametrize("kind", [taoray.Submission, taoray.Withdrawal])
def test_the_fields_are_those_that_are_printed(kind: type) -> None:
    section = PAGE.partition("## The document")[2]
    assert {field for field in kind.__dataclass_fields__ if f"`{field}`" not in section} == set()

"""docs/training.md against the code: every code by which an update is refused."""

import re
from pathlib import Path

from actors.dispatch import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def codes(table: str) -> set[str]:
    return {
        code
        for row in re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row)
    }


def test_the_codes_are_those_that_are_raised() -> None:
    section = PAGE.partition("\n## Who is refused\n")[2].partition("\n## ")[0]
    refusals, others = section.split("| code | why |")[1:]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "models" / "train").glob("*.py"))
    assert codes(refusals) == set(re.findall(r'UpdateRefused\(\s*"(\w+)"', sources))
    assert codes(others) == {"no_gain", "undecided", "absent", *(reason.value for reason in Reason)}

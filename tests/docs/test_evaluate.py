"""docs/evaluate.md against the code: every setting with its default, every field of the document."""

import re
from pathlib import Path

import msgspec
import pytest

from cluster.study.result import Evaluation, ModelValue
from cluster.study.settings import Study

PAGE = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")


def named(heading: str) -> dict[str, str]:
    """What the first two columns of the tables below a heading say: by name, for rows of several names in order."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]*) \|", section, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for names, values in rows:
        keys = re.findall(r"`(\w+)`", names)
        parts = [part.strip() for part in values.split(",")]
        found |= dict(zip(keys, parts if len(parts) == len(keys) else [values] * len(keys), strict=True))
    return found


def test_settings_and_their_defaults() -> None:
    written = named("Settings")
    defaults = {field.name: field.default for field in msgspec.structs.fields(Study) if field.name != "data"}
    assert set(written) == set(defaults)
    for name, default in defaults.items():
        assert written[name] == (f"{default:g}" if isinstance(default, float) else str(default)), name


@pytest.mark.parametrize("kind", [Evaluation, ModelValue])
def test_fields_of_the_document(kind: type[msgspec.Struct]) -> None:
    assert set(kind.__struct_fields__) <= set(named("The document"))
    others = set(Evaluation.__struct_fields__) | set(ModelValue.__struct_fields__) | {"plots"}
    assert set(named("The document")) == others

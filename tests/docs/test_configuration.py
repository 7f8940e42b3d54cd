"""docs/configuration.md against the code: every section, field, bound and default, in their order."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import NODEFAULT
from msgspec import inspect as kinds

from cluster.config import Network

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

Fields = list[tuple[str, str, str]]


def sections() -> dict[str, Fields]:
    """By section: (field, what is accepted, default) of each field that is not a section itself."""
    found: dict[str, Fields] = {}
    _collect(found, set(), "", kinds.type_info(Network))
    del found[""]
    return found


def _collect(found: dict[str, Fields], seen: set[type], name: str, struct: Any) -> None:
    """What stands in two places has its section in the first."""
    found[name] = []
    seen.add(struct.cls)
    for field in struct.fields:
        inner = field.type.item_type if isinstance(field.type, kinds.VarTupleType) else field.type
        if isinstance(inner, kinds.UnionType):
            inner = next(kind for kind in inner.types if not isinstance(kind, kinds.NoneType))
        path = f"{name}.{field.name}".lstrip(".")
        if isinstance(inner, kinds.StructType):
            if inner.cls not in seen:
                _collect(found, seen, path, inner)
        else:
            found[name].append((field.name, accepted(field.type), default_of(field)))


def default_of(field: kinds.Field) -> str:
    if field.default is NODEFAULT:
        return "required"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


def accepted(kind: Any) -> str:
    match kind:
        case kinds.BoolType():
            return "true or false"
        case kinds.IntType():
            return f"whole number{bounds(kind)}"
        case kinds.FloatType():
            return f"number{bounds(kind)}"
        case kinds.LiteralType():
            return ", ".join(f"`{value}`" for value in sorted(kind.values))
        case kinds.StrType(pattern=pattern):
            return "text" if pattern is None else "text like `" + pattern.strip("^$").replace("|", "\\|") + "`"
        case kinds.VarTupleType():
            return f"list of {accepted(kind.item_type)}"
        case kinds.TupleType():
            return f"list of {len(kind.item_types)} × {accepted(kind.item_types[0])}"
    raise AssertionError(f"{kind} is not described here yet")


def bounds(kind: Any) -> str:
    parts = []
    for word, bound in (("above", kind.gt), ("from", kind.ge), ("to", kind.le), ("below", kind.lt)):
        if bound is not None:
            parts.append(f" {word} {power_of_two(bound) or f'{bound:,}'.removesuffix('.0')}")
    return "".join(parts)


def power_of_two(bound: float) -> str:
    """Large powers of two, and those less one, by their exponent."""
    powers = {2**exponent: f"2^{exponent}" for exponent in range(20, 64)}
    return next((name + rest for off, rest in ((0, ""), (1, " - 1")) if (name := powers.get(int(bound) + off))), "")


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
        if rows:
            yield title.strip("`[]"), [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize("section", sections())
def test_every_field_stands_in_the_page_as_it_is(section: str) -> None:
    written = dict(tables())[section]
    assert [(name.strip("`"), accepts, default) for name, accepts, default, _ in written] == sections()[section]
    assert all(meaning for *_, meaning in written)


def test_the_page_has_no_other_sections() -> None:
    assert [name for name, _ in tables()] == list(sections())

"""JSON that strangers wrote, read in bounded memory.

Invariants: no more of a file is read than its limit, no more values are made than MOST_ITEMS, no name is given twice in
an object, and nothing is nested deeper than DEEPEST.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeGuard

from models.manifest import open_plain

MOST_ITEMS = 1 << 18
"""Commas in a document, so at most this many values beside brackets: up to 80 MiB as Python's objects."""
DEEPEST = 32
"""Configurations of transformers nest 5 deep."""

Fault = Literal["size", "syntax", "depth", "repeats"]


class Unreadable(Exception):
    """A document is not what it should be. `fault`: in which way; `sentence`: what was wrong, and what to do."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(fault, sentence)
        self.fault = fault
        self.sentence = sentence


class Repeated(ValueError):
    """An object gives one name twice."""


def read_document(path: Path, most_bytes: int) -> dict[str, Any]:
    """The object in a JSON file. Raises Unreadable."""
    try:
        with open_plain(path) as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise Unreadable("syntax", f"{path.name} cannot be read ({error.strerror})") from None
    if len(data) > most_bytes:
        raise Unreadable("size", f"{path.name} is larger than {most_bytes:,} bytes: it is no such file")
    return parse_document(data, path.name)


def parse_document(data: bytes, name: str) -> dict[str, Any]:
    """The object in JSON text; `name` says where it stands. Raises Unreadable."""
    if data.count(b",") > MOST_ITEMS:
        raise Unreadable("size", f"{name} has more than {MOST_ITEMS:,} values: it is no such file")
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=once_each)
    except Repeated as error:
        raise Unreadable(
            "repeats", f"{name} says {error.args[0]!r} twice: readers differ in which one counts"
        ) from None
    except RecursionError:
        raise Unreadable("depth", f"{name} is nested too deep to be read: at most {DEEPEST} levels") from None
    except ValueError as error:
        raise Unreadable("syntax", f"{name} is not JSON ({error}): save the model again") from None
    if not isinstance(content, dict):
        raise Unreadable("syntax", f"{name} is not a JSON object: save the model again")
    if any(depth > DEEPEST for depth, _, _ in walk(content)):
        raise Unreadable("depth", f"{name} is nested too deep: at most {DEEPEST} levels")
    return content


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises Repeated."""
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise Repeated(name[:80])
        content[name] = value
    return content


def walk(content: dict[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """Every value below `content` with its depth and the name it has, that of its list where it stands in one."""
    waiting: list[tuple[int, str, Any]] = [(1, name, value) for name, value in content.items()]
    while waiting:
        depth, name, value = waiting.pop()
        yield depth, name, value
        if isinstance(value, dict):
            waiting.extend((depth + 1, key, part) for key, part in value.items())
        elif isinstance(value, list):
            waiting.extend((depth + 1, name, part) for part in value)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a JSON integer; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether a value is no number, or a finite one."""
    return not isinstance(value, float) or math.isfinite(value)

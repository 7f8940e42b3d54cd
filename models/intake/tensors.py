"""Headers of safetensors files, checked against the files that carry them.

Invariants: only the header is read, at most HEADER_BYTES of it; what passes holds floating-point tensors whose places
cover the rest of the file exactly once, in any order.

Source: the format's description, https://github.com/huggingface/safetensors#format.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from models.errors import ModelRefused
from models.intake.documents import Unreadable, is_whole, parse_document
from models.manifest import open_plain

HEADER_BYTES = 8 << 20
"""A shard of 5 GB of a model with 58,000 expert tensors has 0.1 MB; the format's own limit is 100 MB."""
MOST_TENSORS = 1 << 15
MOST_DIMENSIONS = 8
METADATA = "__metadata__"
LENGTH_BYTES = 8

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number, by what is hosted."""
INTEGERS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
LEFT_OUT = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", "position_ids")
"""Ends of names under which older versions of transformers saved masks and positions; loading leaves them out."""


class Tensor(NamedTuple):
    """One entry: its numbers' type and count, and its place in the file's data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numbers(self) -> int:
        """How many it has."""
        return prod(self.shape)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, from its header alone.

    Raises ModelRefused with code `header_length`, `header_size`, `header`, `header_repeats`, `tensors`, `tensor_entry`,
    `tensor_dtype`, `integer_weights`, `tensor_size`, `tensor_overlap`, `tensor_gap`, `truncated` or `trailing_bytes`.
    """
    size_bytes = path.stat().st_size
    with open_plain(path) as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size_bytes < LENGTH_BYTES or length > size_bytes - LENGTH_BYTES:
            raise ModelRefused(
                "header_length", f"{path.name} has {size_bytes:,} bytes, its header says it has {length:,} itself"
            )
        if length > HEADER_BYTES:
            raise ModelRefused("header_size", f"{path.name} has a header of {length:,} bytes, at most {HEADER_BYTES:,}")
        header = parse_header(file.read(length), path.name)
    if len(header) > MOST_TENSORS:
        raise ModelRefused("tensors", f"{path.name} holds {len(header):,} tensors, at most {MOST_TENSORS:,}")
    tensors = {name: read_entry(name, entry, path.name) for name, entry in header.items()}
    check_places(tensors, size_bytes - LENGTH_BYTES - length, path.name)
    return tensors


def parse_header(data: bytes, name: str) -> dict[str, Any]:
    """The entries of a header."""
    try:
        header = parse_document(data, f"the header of {name}")
    except Unreadable as error:
        if error.fault == "repeats":
            raise ModelRefused("header_repeats", error.sentence) from None
        raise ModelRefused("header", error.sentence) from None
    notes = header.pop(METADATA, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ModelRefused("header", f"the header of {name} has notes that are no text: save the model again")
    if not data.startswith(b"{"):
        raise ModelRefused("header", f"the header of {name} begins with white space: save the model again")
    return header


def read_entry(name: str, entry: Any, file: str) -> Tensor:
    """A tensor from its entry, sizes and place in agreement."""
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, place = (fields.get(field) for field in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not is_sizes(shape) or not is_sizes(place) or len(shape) > MOST_DIMENSIONS:
        raise ModelRefused("tensor_entry", f"{file} describes {name[:200]!r} in no way that safetensors knows")
    if len(place) != 2 or place[0] > place[1]:
        raise ModelRefused(
            "tensor_entry", f"{file} gives {name[:200]!r} the place {place[:8]}: begin and end are wanted"
        )
    tensor = Tensor(dtype, tuple(shape), place[0], place[1])
    if dtype in INTEGERS and not name.endswith(LEFT_OUT):
        raise ModelRefused(
            "integer_weights", f"{file} holds {name[:200]!r} as {dtype}: weights are {', '.join(FLOATS)}, not quantised"
        )
    size = (FLOATS | INTEGERS).get(dtype)
    if size is None:
        raise ModelRefused(
            "tensor_dtype", f"{file} holds {name[:200]!r} as {dtype[:20]!r}: weights are {', '.join(FLOATS)}"
        )
    if tensor.numbers * size != tensor.end - tensor.begin:
        raise ModelRefused(
            "tensor_size",
            f"{file} gives {name[:200]!r} {tensor.end - tensor.begin:,} bytes, {shape} of {dtype} has "
            f"{tensor.numbers * size:,}",
        )
    return tensor


def is_sizes(value: Any) -> TypeGuard[list[int]]:
    """Whether a value is a list of numbers from 0 on."""
    return isinstance(value, list) and all(is_whole(number) and 0 <= number < 1 << 63 for number in value)


def check_places(tensors: dict[str, Tensor], data_bytes: int, file: str) -> None:
    """Refuse places that do not cover the data of the file exactly once."""
    reached = 0
    for name, tensor in in_order(tensors):
        if tensor.begin < reached:
            raise ModelRefused("tensor_overlap", f"{file} puts {name[:200]!r} over the tensor before it")
        if tensor.begin > reached:
            raise ModelRefused(
                "tensor_gap", f"{file} has {tensor.begin - reached:,} bytes of nothing before {name[:200]!r}"
            )
        reached = tensor.end
    if reached > data_bytes:
        raise ModelRefused(
            "truncated",
            f"{file} holds {data_bytes:,} bytes of tensors, its header describes {reached:,}: copy it again",
        )
    if reached < data_bytes:
        raise ModelRefused("trailing_bytes", f"{file} has {data_bytes - reached:,} bytes after its last tensor")


def in_order(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors as they lie in the file."""
    yield from sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end))

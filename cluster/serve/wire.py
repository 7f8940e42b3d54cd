"""Structs as JSON: bytes are hexadecimal, as everywhere in the command line.

Invariants: what `encode_json` writes `read_struct` reads back equal.
"""

from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)

HEX = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
"""The JSON schema of bytes."""


def encode_json(document: Any) -> bytes:
    """A document as JSON."""
    return msgspec.json.encode(_with_hex(msgspec.to_builtins(document, builtin_types=(bytes,))))


def read_struct(kind: type[T], document: Any) -> T:
    """A struct from decoded JSON; ValueError (msgspec's included) if it is none."""
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, got {type(document).__name__}")
    fields = get_type_hints(kind)
    known = {name: _unhex(value, fields[name]) for name, value in document.items() if name in fields}
    return msgspec.convert(known, kind, builtin_types=(bytes,))


def schemas(kinds: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """JSON schemas of some types, and the components that they refer to."""
    found, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return [_hex_schema(schema) for schema in found], {name: _hex_schema(part) for name, part in components.items()}


def _with_hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _with_hex(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_hex(part) for part in value]
    return value


def _unhex(value: Any, kind: Any) -> Any:
    takes_bytes = kind is bytes or bytes in get_args(kind)
    if takes_bytes and isinstance(value, str):
        return bytes.fromhex(value)
    parts = [kind, *get_args(kind)]
    inner = next((part for part in parts if isinstance(part, type) and issubclass(part, Struct)), None)
    return read_struct(inner, value) if inner is not None and isinstance(value, dict) else value


def _hex_schema(schema: Any) -> Any:
    if isinstance(schema, dict):
        if schema.get("contentEncoding") == "base64":
            return HEX
        return {key: _hex_schema(part) for key, part in schema.items()}
    return [_hex_schema(part) for part in schema] if isinstance(schema, list) else schema

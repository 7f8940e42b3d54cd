"""The record of a placement: a file that says which host answered for which versions in the last epoch that asked.

Invariants: it is written whole or not at all; it is for people, and for the next driver, which plans by what it says
was measured.
"""

import os
from pathlib import Path

import msgspec


class PlacedStack(msgspec.Struct, frozen=True, kw_only=True):
    """Versions (hexadecimal) that were asked together, who published them, and, where a host could not answer for them
    in one batch, why.
    """

    versions: tuple[str, ...]
    names: tuple[str, ...]
    size_bytes: int
    apart: str = ""


class PlacedHost(msgspec.Struct, frozen=True, kw_only=True):
    """What a host was to answer for. `fits`: whether all of it is within `capacity_bytes`."""

    host: str
    size_bytes: int
    capacity_bytes: int
    fits: bool
    stacks: tuple[PlacedStack, ...]


class PlacementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of an epoch, what each version occupied in a host, by manifest, and what hosts said of their memory."""

    epoch: int
    hosts: tuple[PlacedHost, ...]
    measured_bytes: dict[str, int] = {}
    notes: dict[str, tuple[str, ...]] = {}


def write_placement(path: Path, record: PlacementRecord) -> None:
    """Write an epoch's placement in the place of the one before."""
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    waiting.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    waiting.replace(path)


def read_placement(path: Path) -> PlacementRecord | None:
    """The placement of the last epoch that asked; None where there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=PlacementRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None

"""The last epochs' records, without reading those before them."""

import contextlib
import os
from pathlib import Path

import msgspec

from cluster.report import EpochRecord

READ_BYTES = 1 << 16


def last_record(path: Path) -> EpochRecord | None:
    """The record of the last epoch in a file of them; None where there is none."""
    return next(iter(last_records(path, 1)), None)


def last_records(path: Path, most: int) -> list[EpochRecord]:
    """The records of the last epochs in a file of them, the oldest first; what a crash cut off is passed over."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        end, size_bytes = file.seek(0, os.SEEK_END), READ_BYTES
        while True:
            begin = max(0, end - size_bytes)
            file.seek(begin)
            found: list[EpochRecord] = []
            for line in reversed(file.read().split(b"\n")[1 if begin else 0 :]):
                if len(found) < most:
                    with contextlib.suppress(msgspec.DecodeError):
                        found.append(msgspec.json.decode(line, type=EpochRecord))
            if begin == 0 or len(found) == most:
                return found[::-1]
            size_bytes *= 8

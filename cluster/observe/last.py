"""The last epoch's record, without reading those before it."""

import contextlib
import os
from pathlib import Path

import msgspec

from cluster.report import EpochRecord

READ_BYTES = 1 << 16


def last_record(path: Path) -> EpochRecord | None:
    """The record of the last epoch in a file of them, passing over what a crash cut off; None where there is none."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        end, size = file.seek(0, os.SEEK_END), READ_BYTES
        while True:
            begin = max(0, end - size)
            file.seek(begin)
            lines = file.read().split(b"\n")[1 if begin else 0 :]
            for line in reversed(lines):
                with contextlib.suppress(msgspec.DecodeError):
                    return msgspec.json.decode(line, type=EpochRecord)
            if begin == 0:
                return None
            size *= 8

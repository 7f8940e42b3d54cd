"""The log of a home: one JSON line for each thing that a driver tells, read by people, scripts and collectors.

Invariants:
* a line is written whole or not at all, and is on a line of its own even after a crash;
* two files of bounded size are kept; what is written after one is full goes to a new one;
* a line says where in the run it belongs: network, epoch, step, and whom it is about where it is about one.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct

from cluster.home import Home

Level = Literal["info", "note", "warning", "error"]

MOST_BYTES = 8 << 20
"""Of one file; an epoch has about three KiB."""

TAIL_BYTES = 1 << 16
"""What is read first where only the last lines are wanted."""

POLL_S = 0.3
"""How often a reader that follows looks again."""


class LogLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the log.

    Attributes:
        time_s: Unix time.
        level: info (a step began, an epoch closed), note (a person should know), warning (Python's), error (the run's
            end).
        epoch, step: under way when it was told; None and empty outside of epochs.
        uid, host, validator: whom it is about, where that is one neuron, host or validator.
        process: of the driver.
        sentence: what is told. trace: where an unexpected error was raised.
    """

    time_s: float
    level: Level
    network: str
    sentence: str
    epoch: int | None = None
    step: str = ""
    uid: int | None = None
    host: str = ""
    validator: str = ""
    process: int = 0
    trace: str = ""

    def text(self) -> str:
        """As a person reads it, on one line but for a trace."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time_s))
        where = "" if self.epoch is None else f" epoch {self.epoch}{f' {self.step}' if self.step else ''}"
        level = "" if self.level == "info" else f" {self.level}"
        trace = f"\n{self.trace.rstrip()}" if self.trace else ""
        return f"{clock}{where}{level}: {self.sentence}{trace}"


class LogFile:
    """The file that a driver writes to. It never raises: a full disk costs lines, and is told once in `failure`."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.failure = ""
        self._path = path
        self._most_bytes = most_bytes

    def write(self, line: LogLine) -> None:
        """Add a line."""
        data = msgspec.json.encode(line) + b"\n"
        try:
            if self._path.exists() and self._path.stat().st_size + len(data) > self._most_bytes:
                self._path.replace(older(self._path))
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size_bytes = os.fstat(descriptor).st_size
                whole = size_bytes == 0 or os.pread(descriptor, 1, size_bytes - 1) == b"\n"
                os.write(descriptor, data if whole else b"\n" + data)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.failure = f"the log cannot be written: {error}"


def older(path: Path) -> Path:
    """Where the lines before those of a log file are."""
    return path.with_name(f"{path.stem}.1{path.suffix}")


def read_log(home: Home, last: int | None = None, follow: bool = False) -> Iterator[LogLine]:
    """The lines of a home's log, oldest first.

    Args:
        last: only so many of those that are there; None: all.
        follow: wait for further ones for ever.
    """
    with contextlib.ExitStack() as files:
        now = home.log
        file = files.enter_context(now.open("rb")) if now.exists() else None
        there = _tail(file, last) if file else []
        if (last is None or len(there) < last) and older(now).exists():
            with older(now).open("rb") as before:
                there = _tail(before, None if last is None else last - len(there)) + there
        yield from there
        rest = b""
        while follow:
            data = file.read() if file else b""
            if not data:
                time.sleep(POLL_S)
            if now.exists() and (file is None or os.fstat(file.fileno()).st_ino != now.stat().st_ino):
                data += file.read() if file else b""  # what came before it was put aside
                file = files.enter_context(now.open("rb"))
            *whole, rest = (rest + data).split(b"\n")
            for each in whole:
                yield from _lines(each)


def _tail(file: BinaryIO, last: int | None) -> list[LogLine]:
    """The last lines of a file, all for None; the file is at its end afterwards."""
    end, size_bytes = file.seek(0, os.SEEK_END), TAIL_BYTES
    while True:
        begin = 0 if last is None else max(0, end - size_bytes)
        file.seek(begin)
        found = list(_lines(file.read()))
        if begin == 0:
            return found if last is None else found[max(0, len(found) - last) :]
        if last is not None and len(found) > last:  # the first may have been cut
            return found[len(found) - last :]
        size_bytes *= 8


def _lines(data: bytes) -> Iterator[LogLine]:
    """The whole lines of some text; one that a crash cut off is passed over."""
    for line in data.split(b"\n"):
        if line:
            with contextlib.suppress(msgspec.DecodeError):
                yield msgspec.json.decode(line, type=LogLine)

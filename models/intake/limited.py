"""A process of its own, with a deadline: what it says in one line, or how it ended.

Invariants: its environment holds nothing but what is named here; it writes into pipes of which a bounded part is kept;
when `run_limited` returns or raises, no process of its group lives.

What it may use is its own business (`models.intake.trial` limits itself once its libraries are loaded): a process says
`READY` on its standard output when it begins to work, and later its answer, each in a line.
"""

import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO

READY = b"ready\n"
MOST_ANSWER_BYTES = 1 << 16
KEPT_ERROR_BYTES = 1 << 12
READ_BYTES = 1 << 16
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
SET_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_DEACTIVATE_ASYNC_LOAD": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONSAFEPATH": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Offline, without devices, without threads that reserve memory each, and without files beside the sources."""


@dataclass
class Ended:
    """How a process ended.

    began: whether it said that it was ready. answer: its line after that, empty where it said none. status: its exit
    status, negative for a signal. late: whether it was killed at its deadline. error: the end of its standard error.
    """

    began: bool = False
    answer: bytes = b""
    status: int = 0
    late: bool = False
    error: str = ""


@dataclass
class Heard:
    """What was read from a process's pipes."""

    output: bytearray = field(default_factory=bytearray)
    error: bytearray = field(default_factory=bytearray)

    @property
    def excessive(self) -> bool:
        """Whether it says more than any answer has."""
        return len(self.output) > MOST_ANSWER_BYTES

    @property
    def began(self) -> bool:
        """Whether it is at work."""
        return self.output.startswith(READY)


def run_limited(command: Sequence[str], question: bytes, *, start_s: float, work_s: float) -> Ended:
    """Run a command, which is given `question` on its standard input, and wait for its answer.

    `start_s`: until it is ready; `work_s`: from then on. Raises OSError where it cannot be started.
    """
    with tempfile.TemporaryFile() as stdin:
        stdin.write(question)
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
    heard, ended = Heard(), Ended()
    try:
        ended.late = not listen(process, heard, start_s, work_s)
    finally:
        # Before the leader is waited for, so that its group's number is still its own.
        os.killpg(process.pid, signal.SIGKILL)
        ended.status = process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    ended.began = heard.began
    ended.error = heard.error.decode(errors="replace")
    if heard.began and heard.output.endswith(b"\n") and not heard.excessive:
        ended.answer = bytes(heard.output[len(READY) :])
    return ended


def listen(process: "subprocess.Popen[bytes]", heard: Heard, start_s: float, work_s: float) -> bool:
    """Read what a process says until it is silent, or says too much; False where its deadline came first."""
    deadline = monotonic() + start_s
    began = False
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((process.stdout, heard.output), (process.stderr, heard.error)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, kept)
        while selector.get_map():
            if heard.began and not began:
                began, deadline = True, monotonic() + work_s
            ready = selector.select(max(0.0, deadline - monotonic()))
            if not ready:
                return False
            for key, _ in ready:
                if not take(key.fileobj, key.data):  # type: ignore[arg-type]  # what was registered above
                    selector.unregister(key.fileobj)
            del heard.error[:-KEPT_ERROR_BYTES]
            if heard.excessive:
                return True
    return True


def take(pipe: IO[bytes], kept: bytearray) -> bool:
    """Read what a pipe has; False at its end."""
    data = os.read(pipe.fileno(), READ_BYTES)
    kept += data
    return bool(data)


def environment() -> dict[str, str]:
    """The environment of a limited process: no credentials, no proxies, no caches of this user."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | SET_VARIABLES | {"HOME": "/nonexistent", "PYTHONPATH": os.pathsep.join(paths)}

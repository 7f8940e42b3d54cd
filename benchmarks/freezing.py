"""Trouble for one process of a running network: it is stopped, goes on in fits and starts, or is killed.

Invariants: a process that was stopped here and is not wanted any more goes on before the network ends, so that it can
end too; signals go to process ids that the actors told.
"""

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from typing import Literal

import ray
from ray.exceptions import RayError

from cluster.report import EpochRecord
from cluster.show import Quiet

LATER_S = 0.4
"""From the beginning of a step until its process is in the middle of it."""
PING_S = 20.0
"""How long an actor may take to say its process id."""
ON_S, OFF_S = 0.1, 0.9
"""A process that stutters works for a tenth of the time."""


@dataclass(frozen=True)
class Trouble:
    """What happens to an actor, when a step begins whose sentence starts with `step`.

    Attributes:
        kind: stop (SIGSTOP), kill (SIGKILL), or stutter (stopped nine tenths of the time) until the epoch is over.
        then_s: after which a stopped process goes on; 0: never.
        again: the process that takes the place of a stopped one is stopped too, until the epoch is over.
    """

    actor: str
    step: str
    kind: Literal["stop", "kill", "stutter"]
    then_s: float = 0.0
    again: bool = False


class Freezer(Quiet):
    """Makes the trouble in every epoch, and keeps what the run tells."""

    def __init__(self, trouble: Trouble | None) -> None:
        self.records: list[EpochRecord] = []
        self.notes: list[str] = []
        self.troubled: list[int] = []
        self._trouble = trouble
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def note(self, sentence: str) -> None:
        """Kept."""
        self.notes.append(sentence)

    def step(self, sentence: str, total: int = 0) -> None:
        """Trouble begins with its step."""
        if self._trouble is None or not sentence.startswith(self._trouble.step):
            return
        handle = ray.get_actor(self._trouble.actor)
        self._over.clear()
        thread = threading.Thread(target=self._make, args=(self._trouble, handle), daemon=True)
        thread.start()
        self._threads.append(thread)

    def epoch(self, record: EpochRecord) -> None:
        """Trouble ends with its epoch."""
        self.records.append(record)
        self.end()

    def end(self) -> None:
        """Nobody is troubled any more."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=60)
        self._threads.clear()
        for pid in self.troubled:
            _send(pid, signal.SIGCONT)

    def _make(self, trouble: Trouble, handle: object) -> None:
        pid = _process(handle)
        if pid is None or self._over.wait(LATER_S):
            return
        self.troubled.append(pid)
        if trouble.kind == "kill":
            _send(pid, signal.SIGKILL)
        elif trouble.kind == "stutter":
            while not self._over.is_set():
                _send(pid, signal.SIGSTOP)
                self._over.wait(OFF_S)
                _send(pid, signal.SIGCONT)
                self._over.wait(ON_S)
        else:
            self._stop(trouble, handle, pid)

    def _stop(self, trouble: Trouble, handle: object, pid: int) -> None:
        _send(pid, signal.SIGSTOP)
        if trouble.then_s:
            self._over.wait(trouble.then_s)
            _send(pid, signal.SIGCONT)
        while trouble.again and not self._over.wait(1.0):
            if not os.path.exists(f"/proc/{pid}"):
                found = _process(handle)
                if found is not None and found != pid:
                    pid = found
                    self.troubled.append(pid)
                    _send(pid, signal.SIGSTOP)


def _process(handle: object) -> int | None:
    try:
        found: int = ray.get(handle.ping.remote(), timeout=PING_S)  # type: ignore[attr-defined]  # an actor's method
    except RayError:
        return None
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

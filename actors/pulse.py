"""Whether actors that owe an answer still live: a ping is answered while an actor works, unless its process is frozen.

Invariants:
* an actor whose calls end, well or not, is never found frozen;
* time in which the process that looks was stopped itself does not count.

A process can be there and do nothing: stopped by a signal, waiting for a disk that is gone, or held by a debugger.
Ray does not notice; the only difference to one that works is that its ping stays unanswered too.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray

from actors.seam import Handle, Reference

QUIET_S = 5.0
"""How long an actor that owes an answer is left alone between two pings."""

FROZEN_S = 40.0
"""How long a ping may stay unanswered: longer than a process holds its interpreter, or waits for a busy processor."""

AGAIN_S = 150.0
"""The same of one that was ended and was not heard of since: calls to the keeper wait while it starts."""

LOOK_S = 1.0
"""The shortest time between two looks."""

MOST_S = 2.0
"""What the time between two looks counts for at most."""


@dataclass
class _Beat:
    """How long it has been quiet, and the ping that is under way."""

    quiet_s: float = 0.0
    ping: Reference | None = None


class Pulse:
    """Watches actors from look to look."""

    def __init__(self) -> None:
        self._beats: dict[str, _Beat] = {}
        self._ended: set[str] = set()
        self._looked = time.monotonic()

    def heard(self, name: str) -> None:
        """An actor answered a call."""
        self._ended.discard(name)
        self._beats.pop(name, None)

    def frozen(self, owing: Mapping[str, Handle]) -> list[str]:
        """Look at the actors that owe an answer now, by name; call it about once a second, more often does no harm.

        Returns:
            whose process is frozen; each is told once, and watched anew if it still owes an answer then.
        """
        now = time.monotonic()
        passed_s = now - self._looked
        if passed_s < LOOK_S:
            return []
        self._looked = now
        self._beats = {name: self._beats.get(name, _Beat()) for name in owing}
        self._take_in()
        for name, beat in self._beats.items():
            beat.quiet_s += min(passed_s, MOST_S)
            if beat.ping is None and beat.quiet_s >= QUIET_S:
                beat.ping, beat.quiet_s = owing[name].ping.remote(), 0.0
        found = [
            name for name, beat in self._beats.items() if beat.ping is not None and beat.quiet_s >= self._most(name)
        ]
        for name in found:
            del self._beats[name]
        self._ended.update(found)
        return found

    def _most(self, name: str) -> float:
        return AGAIN_S if name in self._ended else FROZEN_S

    def _take_in(self) -> None:
        pings = [beat.ping for beat in self._beats.values() if beat.ping is not None]
        if not pings:
            return
        ready, _ = ray.wait(pings, num_returns=len(pings), timeout=0)
        for name, beat in self._beats.items():
            if beat.ping in ready:
                beat.ping, beat.quiet_s = None, 0.0
                self._ended.discard(name)


def frozen_sentence() -> str:
    """Why a process was ended."""
    return f"its process was frozen (no ping in {FROZEN_S:g} s), and is started anew"

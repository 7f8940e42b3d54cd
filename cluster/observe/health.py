"""Whether a network is well: its ledger can be read, somebody drives it, and blocks become final.

Invariants: a network that does what its configuration allows is never called late; no clock of another machine is read.
"""

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from cluster.config import Deadlines, Network
from cluster.lease import Holder

PHASES = 3
"""Blocks of an epoch, each with a wait for finality of its own."""

CALLS = 5
"""Calls in a row that validators are asked in an epoch: to draw, value, commit, reveal, and for what they found."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at: whether it is well, and what was seen."""

    name: str
    ok: bool
    sentence: str


class Health(Struct, frozen=True, kw_only=True):
    """Whether a network is ready: all of what was looked at is well."""

    ready: bool
    checks: tuple[Finding, ...]


class Alive(Struct, frozen=True, kw_only=True):
    """The server's process answers."""

    alive: bool


class Heights:
    """When a ledger's final height was last seen to change. Its method may be called from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._height: int | None = None
        self._since_s = clock()

    def age_s(self, height: int) -> float:
        """How long this final height has stood, since this object was made at most."""
        with self._lock:
            if height != self._height:
                first = self._height is None
                self._height = height
                if not first:
                    self._since_s = self._clock()
            return self._clock() - self._since_s


def longest_epoch_s(network: Network) -> float:
    """How long an epoch may take at most by its deadlines, the replacing of lost actors included."""
    deadlines: Deadlines = network.deadlines
    asked_s = max(deadlines.query_s, network.remote.deadline_s if network.query.panel == "next_byte" else 0.0)
    waited_s = CALLS * deadlines.validator_s + PHASES * deadlines.finality_s
    return deadlines.start_s + deadlines.train_s + asked_s + waited_s


def check_health(
    *, height: int | None, why: str, holder: Holder | None, age_s: float, longest_s: float | None
) -> Health:
    """Whether a network is ready.

    Args:
        height: the last final one; None: the ledger cannot be read, and `why`.
        holder: who drives it.
        age_s: how long the height has stood.
        longest_s: an epoch may take; None: nobody ever drove it.
    """
    late = longest_s is not None and age_s > longest_s
    stood = f"block {height} has been the last final one for {age_s:.0f} s"
    checks = (
        Finding(name="ledger", ok=height is not None, sentence=why or f"final to block {height}"),
        Finding(name="driver", ok=holder is not None, sentence=f"driven by {holder}" if holder else "nobody drives it"),
        Finding(
            name="progress",
            ok=height is not None and not late,
            sentence="unknown"
            if height is None
            else f"{stood}, and an epoch takes {longest_s:.0f} s at most"
            if late
            else stood,
        ),
    )
    return Health(ready=all(check.ok for check in checks), checks=checks)

"""How long hosts took to answer: calls as a network recorded them, to be drawn again.

Invariants: a drawn call is one that was recorded, scaled by parameters, versions and windows alone; the tail is kept.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

RECORD = Path(__file__).parents[1] / "results" / "latencies.json"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One answered call of a host: how many versions and windows, and seconds by span."""

    versions: int
    windows: int
    check_s: float
    score_s: float
    sign_s: float


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded in one network.

    Attributes:
        parameters: of each version. tokens: of a window.
        calls: of hosts. read_s: of a validator, for one version's answer to one query. draw_s: of a validator's query.
        driver_s: what the pool spent on sending and receiving one call through Ray.
    """

    parameters: int
    tokens: int
    calls: tuple[Call, ...]
    read_s: tuple[float, ...]
    draw_s: tuple[float, ...]
    driver_s: float

    def call_s(self, random: Random, parameters: Sequence[int], windows: int) -> float:
        """Seconds of a call to versions with so many parameters about so many windows."""
        drawn = random.choice(self.calls)
        share = windows / (drawn.versions * drawn.windows)
        scored_s = drawn.score_s * share * sum(parameters) / self.parameters
        return drawn.check_s + scored_s + drawn.sign_s * share * len(parameters)


def read_latencies(path: Path = RECORD) -> Latencies:
    """The record; OSError or msgspec.DecodeError if there is none."""
    measured = msgspec.json.decode(path.read_bytes())["measured"]
    return msgspec.convert(measured, Latencies)

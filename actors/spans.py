"""Spans: what a process did from when to when, for who asks where a phase's time goes.

Invariants: times are of the machine's wall clock, so that processes of one machine can be laid side by side; taking a
span costs a microsecond and changes nothing.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of work. Seconds since 1970."""

    name: str
    began_s: float
    ended_s: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ended_s - self.began_s


class Spans(list[Span]):
    """The spans that a process took, in the order in which they ended."""

    @contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """What is done until the end is a span of this name, an error's end too."""
        began_s = time.time()
        try:
            yield
        finally:
            self.append(Span(name, began_s, time.time()))

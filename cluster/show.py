"""What a run tells while it goes on: an interface that the terminal, a log or nobody stands behind."""

from typing import Protocol

from cluster.report import EpochRecord


class Progress(Protocol):
    """Hears how a long task goes. Nothing depends on what it does."""

    def step(self, sentence: str, total: int = 0) -> None:
        """A step begins; `total` is how many answers it waits for, 0 where that has no number."""

    def advance(self, done: int) -> None:
        """So many answers are there."""

    def note(self, sentence: str) -> None:
        """Something that a person should know, and that stays readable."""


class Show(Progress, Protocol):
    """Hears how a run of a network goes."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is closed."""


class Quiet:
    """Tells nobody."""

    def step(self, sentence: str, total: int = 0) -> None:
        """Nothing."""

    def advance(self, done: int) -> None:
        """Nothing."""

    def note(self, sentence: str) -> None:
        """Nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Nothing."""

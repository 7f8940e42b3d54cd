"""The bar that a long command shows on standard error: what goes on, how far it is, and how long it may still take."""

from types import TracebackType
from typing import Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cluster.cli.output import error_console
from cluster.job.inside import in_job

ESTIMATE_S = 600
"""How far back the speed is looked at that the time left is estimated from: one answer may take minutes."""


class Bar:
    """Use as a context. It is gone when the command ends; notes stay."""

    def __init__(self) -> None:
        self._console = error_console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=ESTIMATE_S,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, sentence: str, total: int = 0) -> None:
        """A step begins."""
        self._progress.reset(self._task, description=escape(sentence), total=total or None)
        if in_job():  # its log is followed from elsewhere, and has no bar
            self._console.print(f"{escape(sentence)}…", highlight=False, soft_wrap=True)

    def advance(self, done: int) -> None:
        """So many answers are there."""
        self._progress.update(self._task, completed=done)

    def note(self, sentence: str) -> None:
        """Something that stays readable."""
        self._console.print(f"[yellow]note[/]: {escape(sentence)}", highlight=False, soft_wrap=True)

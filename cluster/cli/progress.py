"""A run on a terminal: progress while a step goes on, a table when an epoch is closed."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import taoray
from cluster.cli.output import error_console
from cluster.cli.tables import epoch_line, neuron_table, summary_table
from cluster.report import EpochRecord


class Terminal:
    """Shows a run to a person, on standard error; the closing summary on standard output."""

    def __init__(self) -> None:
        self._console = error_console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> "Terminal":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, sentence: str, total: int = 0) -> None:
        """A step begins."""
        self._progress.reset(self._task, description=sentence, total=total or None)

    def advance(self, done: int) -> None:
        """So many answers are there."""
        self._progress.update(self._task, completed=done)

    def note(self, sentence: str) -> None:
        """Something that stays readable."""
        self._console.print(f"[yellow]note[/]: {sentence}", highlight=False, soft_wrap=True)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is closed."""
        self._console.print(neuron_table(record))
        self._console.print(epoch_line(record), highlight=False)

    def summary(self, report: taoray.RunReport) -> None:
        """The run is over."""
        from rich.console import Console

        Console().print(summary_table(report))

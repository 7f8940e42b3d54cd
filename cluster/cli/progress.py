"""A run on a terminal: progress while a step goes on, a table when an epoch is closed."""

from rich.console import Console

import taoray
from cluster.cli.bar import Bar
from cluster.cli.tables import epoch_line, neuron_table, round_line, round_table, summary_table
from cluster.report import EpochRecord


class Terminal(Bar):
    """Shows a run to a person, on standard error; the closing summary on standard output."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is closed."""
        self._console.print(neuron_table(record))
        for round_ in record.rounds:
            if round_.tokens:
                self._console.print(round_table(round_))
                self._console.print(round_line(round_), highlight=False)
            else:
                self._console.print(f"cohort {round_.cohort} begins with the next epoch\n", highlight=False)
        self._console.print(epoch_line(record), highlight=False)

    def summary(self, report: taoray.RunReport) -> None:
        """The run is over."""
        console = Console()
        console.print(summary_table(report))
        if report.plot is not None:
            console.print(f"what cohorts have learned: {report.plot}", highlight=False, soft_wrap=True)

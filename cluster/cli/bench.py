"""`taoray bench`: what this machine does with each kind of a network's work, and what holds it back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

import taoray
from cluster.bench.settings import WORKS
from cluster.cli.bar import Bar
from cluster.cli.output import JsonOption, print_json
from cluster.cli.tables import plain_table
from cluster.errors import ClusterError
from cluster.job.attempt import INTERRUPTED

if TYPE_CHECKING:
    from models.bench.report import Report

WIDEST = 1000
"""Characters of a table; no console is wider."""


def bench(
    work: Annotated[str, typer.Argument(metavar="|".join(WORKS), help="What is measured.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", metavar="PRESET|PATH", help="A preset's name, or a model's folder.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a setting; a list of values is swept."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE.json", help="Write a Chrome trace of one repetition.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the record and, of a sweep, a figure.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure this machine: what bounds the work, what the device does at most, and how near the work comes to it."""
    bar = Bar()
    try:
        with bar:
            report = taoray.bench(work, model=model, overrides=overrides or (), trace=trace, show=bar)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    written = _write(report, out) if out is not None else ()
    if json:
        files = {"files": written, "trace": trace}
        print_json({name: getattr(report, name) for name in report.__struct_fields__} | files)
    else:
        _print(report, (*written, *([trace] if trace else [])))


def _write(report: "Report", folder: Path) -> tuple[Path, ...]:
    from cluster.bench.plot import draw_report
    from cluster.bench.table import file_name, record_path
    from models.bench.report import write_report

    try:
        record = write_report(report, record_path(report, folder))
        return record, *draw_report(report, folder / file_name(report))
    except OSError as error:
        raise ClusterError(f"the result cannot be written: {error}") from error


def _print(report: "Report", files: tuple[Path, ...]) -> None:
    from cluster.bench.table import columns_of, parts_of, remarks_of, title_of

    console = Console()
    for lines in parts_of(report.lines):
        table = _table(title_of(report, lines), columns_of(lines))
        # A narrow terminal breaks the lines: figures that are cut off would say something else.
        unbound = console.options.update(max_width=WIDEST)
        console.width = max(console.width, Measurement.get(console, unbound, table).maximum)
        console.print(table)
        for remark in (*remarks_of(lines), ""):
            console.print(escape(remark), highlight=False, soft_wrap=True)
    for sentence in (*report.messages, *(f"written: {path}" for path in files)):
        console.print(escape(sentence), highlight=False, soft_wrap=True)


def _table(title: str, columns: dict[str, list[str]]) -> Table:
    """Words to the left, figures to the right."""
    table = plain_table(escape(title), [], [])
    for heading, cells in columns.items():
        is_number = all(cell[:1] in "—±·" or cell[:1].isdigit() for cell in cells)
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(escape, row))
    return table

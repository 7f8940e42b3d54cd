"""`taoray evaluate`: value any models as one collective, without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.bar import Bar
from cluster.cli.leaderboard import failures, leaderboard, summary, weights_table
from cluster.cli.output import JsonOption, print_json
from cluster.errors import ClusterError
from cluster.home import find_work
from cluster.job.attempt import INTERRUPTED

PLOT = "evaluation"
"""The figure's name in the work folder."""


def evaluate(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Model or adapter folders, in the order of publication.")
    ],
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="PATH", help="Text: a file, folder or Parquet file.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.parquet", help="Write the models as a table, the figure beside it."),
    ] = None,
    matrix: Annotated[
        Path | None, typer.Option("--matrix", metavar="FILE.arrow", help="Write the log-probabilities of every event.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Override a setting of the evaluation.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Text and scores are kept in its folder `evaluate`.", envvar="TAORAY_HOME"),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster to join.", envvar="RAY_ADDRESS")] = None,
    json: JsonOption = False,
) -> None:
    """Value any models as one collective on held-out text: what each brings, and what it adds to those before it."""
    bar = Bar()
    try:
        with bar:
            evaluation = taoray.evaluate(
                models, data=data or (), overrides=overrides or (), home=home, address=address, matrix=matrix, show=bar
            )
    except KeyboardInterrupt:
        bar.note("stopped; the same command goes on from the parts that are scored")
        raise typer.Exit(INTERRUPTED) from None
    plots = _write(evaluation, out, find_work(home) / PLOT)
    if json:
        print_json({name: getattr(evaluation, name) for name in evaluation.__struct_fields__} | {"plots": plots})
    else:
        _print(evaluation, plots)


def _write(evaluation: taoray.Evaluation, out: Path | None, plot: Path) -> tuple[Path, Path]:
    from cluster.study.plot import draw_evaluation

    try:
        if out is not None:
            evaluation.write_table(out)
            plot = out.absolute().with_suffix("")
        return draw_evaluation(evaluation, plot)
    except OSError as error:
        raise ClusterError(f"the result cannot be written: {error}") from error


def _print(evaluation: taoray.Evaluation, plots: Sequence[Path]) -> None:
    console = Console()
    console.print(leaderboard(evaluation))
    console.print(weights_table(evaluation))
    figures = (f"figure: {path}" for path in plots)
    for line in (*summary(evaluation), *failures(evaluation), *figures):
        console.print(line, highlight=False, soft_wrap=True)

"""`taoray launch`: run a network, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

import taoray
from cluster.cli.output import HomeOption, JsonOption, print_json
from cluster.cli.progress import Terminal

INTERRUPTED = 130
"""The exit code of a run that was told to stop, as shells have it."""


def launch(
    network: Annotated[Path | None, typer.Argument(help="A TOML file; the default network without it.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How many further epochs to run.")] = 1,
    home: HomeOption = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a field of the file.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster to join.", envvar="RAY_ADDRESS")] = None,
    json: JsonOption = False,
) -> None:
    """Run a network for some further epochs: a new one from its genesis, a known one from its last block."""
    try:
        with Terminal() as terminal:
            report = taoray.launch(
                network, epochs=epochs, home=home, overrides=overrides or (), address=address, show=terminal
            )
    except KeyboardInterrupt:
        terminal.note("stopped; the same command goes on from the last block")
        raise typer.Exit(INTERRUPTED) from None
    if json:
        print_json(
            {
                "network": report.network,
                "home": report.home,
                "height": report.height,
                "block_hash": report.block_hash,
                "issuance_rao": report.issuance_rao,
                "epochs": [_without_neurons(record) for record in report.epochs],
                "neurons": report.neurons,
                "plot": report.plot,
            }
        )
    else:
        terminal.summary(report)


def _without_neurons(record: taoray.EpochRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__ if name != "neurons"}

"""`taoray launch`: run a network, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

import taoray
from cluster.cli.job import launch_job, told_home
from cluster.cli.output import HomeOption, JsonOption, print_json
from cluster.cli.progress import Terminal
from cluster.errors import ConfigurationError
from cluster.job.attempt import INTERRUPTED
from cluster.job.server import is_dashboard

LaunchAddress = Annotated[
    str | None,
    typer.Option(help="Of a Ray cluster: HOST:PORT joins it, http://HOST:8265 sends a job.", envvar="RAY_ADDRESS"),
]


def launch(
    context: typer.Context,
    network: Annotated[Path | None, typer.Argument(help="A TOML file; the default network without it.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How many further epochs to run.")] = 1,
    home: HomeOption = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a field of the file.")
    ] = None,
    address: LaunchAddress = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave the job to itself, and print its name.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a network for some further epochs: a new one from its genesis, a known one from its last block."""
    if address is not None and is_dashboard(address):
        place = told_home(context, home)
        launch_job(network, address, epochs=epochs, home=place, overrides=overrides or [], detach=detach, json=json)
        return
    if detach:
        raise ConfigurationError("--detach", "goes with a job: --address http://HOST:8265")
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

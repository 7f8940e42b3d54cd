"""`taoray status` and `taoray metagraph`: where a network stands, read from its home whether it runs or not."""

from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.job import ClusterOption, NetworkOption, job_address, show_job_status, told_home
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.tables import metagraph_table
from cluster.cli.view import standing_document, standing_lines, standing_tables
from cluster.cli.watch import watch
from cluster.errors import ConfigurationError


def status(
    context: typer.Context,
    home: HomeOption = None,
    network: NetworkOption = None,
    address: ClusterOption = None,
    watched: Annotated[bool, typer.Option("--watch", help="Look again each second until Ctrl-C.")] = False,
    json: JsonOption = False,
) -> None:
    """Where a network stands: its last block, supply, driver and cohorts, and which host answers for which peers."""
    if (server := job_address(address)) is not None:
        if watched:
            raise ConfigurationError("watch", "is of a home on this machine; of a job there is `taoray logs --follow`")
        show_job_status(server, network, told_home(context, home), json)
        return
    folder = home_of(home, network).folder
    if watched:
        watch(folder, json)
        return
    standing = taoray.status(folder)
    if json:
        print_json(standing_document(standing))
        return
    console = Console()
    console.print(standing_lines(standing), highlight=False, soft_wrap=True)
    for table in standing_tables(standing):
        console.print(table)


def metagraph(
    home: HomeOption = None,
    epoch: Annotated[int | None, typer.Option(min=0, help="Of a past epoch; the last without it.")] = None,
    json: JsonOption = False,
) -> None:
    """The neurons at the close of an epoch, as the ledger has them."""
    rows = taoray.metagraph(home_of(home).folder, epoch).to_pylist()
    if json:
        print_json(rows)
    else:
        measured = {record.epoch: record for record in taoray.epochs(home_of(home).folder)}
        Console().print(metagraph_table(rows, measured))

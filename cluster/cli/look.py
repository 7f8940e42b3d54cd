"""`taoray status` and `taoray metagraph`: where a network stands, read from its home whether it runs or not."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console

import taoray
from cluster.cli.job import ClusterOption, NetworkOption, job_address, show_job_status, told_home
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.tables import cohort_table, metagraph_table, placement_table, tao


def status(
    context: typer.Context,
    home: HomeOption = None,
    network: NetworkOption = None,
    address: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Where a network stands: its last block, supply, driver and cohorts, and which host answers for which peers."""
    if (server := job_address(address)) is not None:
        show_job_status(server, network, told_home(context, home), json)
        return
    standing = taoray.status(home_of(home, network).folder)
    supply = standing.supply
    if json:
        holder = standing.holder
        print_json(
            {
                "network": standing.network,
                "genesis": standing.genesis,
                "keeper": standing.keeper,
                "home": standing.home,
                "height": standing.height,
                "epoch": standing.epoch,
                "phase": standing.phase,
                "final_height": standing.final_height,
                "block_hash": standing.block_hash,
                "supply": supply._asdict(),
                "driver": {"machine": holder.machine, "process": holder.process} if holder else None,
                "placement": msgspec.to_builtins(standing.placement),
                "cohorts": msgspec.to_builtins(standing.cohorts),
            }
        )
        return
    console = Console()
    driver = f"driven by {standing.holder}" if standing.holder else "not running"
    console.print(f"[bold]{standing.network}[/] in {standing.home}: {driver}", highlight=False, soft_wrap=True)
    console.print(f"genesis {standing.genesis}, keeper {standing.keeper}", highlight=False, soft_wrap=True)
    console.print(
        f"epoch {standing.epoch} ({standing.phase}), block {standing.height} {standing.block_hash[:16]}, "
        f"final to {standing.final_height}",
        highlight=False,
    )
    console.print(
        f"issuance {tao(supply.issuance_rao)} τ = genesis {tao(supply.genesis_rao)} + minted {tao(supply.minted_rao)} "
        f"- burned {tao(supply.burned_rao)}; free {tao(supply.free_rao)}, staked {tao(supply.pools_rao)}",
        highlight=False,
        soft_wrap=True,
    )
    if standing.cohorts:
        console.print()
        console.print(cohort_table(standing.cohorts))
    if standing.placement is not None:
        console.print()
        console.print(placement_table(standing.placement))


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

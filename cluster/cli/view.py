"""Where a network stands, as a document for scripts and as lines and tables for a person."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

import taoray
from cluster.cli.tables import cohort_table, placement_table, tao


def standing_document(standing: "taoray.Standing") -> dict[str, Any]:
    """As `taoray status --json` prints it."""
    holder = standing.holder
    return {
        "network": standing.network,
        "genesis": standing.genesis,
        "keeper": standing.keeper,
        "home": standing.home,
        "height": standing.height,
        "epoch": standing.epoch,
        "phase": standing.phase,
        "final_height": standing.final_height,
        "block_hash": standing.block_hash,
        "supply": standing.supply._asdict(),
        "driver": {"machine": holder.machine, "process": holder.process} if holder else None,
        "placement": msgspec.to_builtins(standing.placement),
        "cohorts": msgspec.to_builtins(standing.cohorts),
    }


def standing_lines(standing: "taoray.Standing") -> Group:
    """The network, its ledger and its supply."""
    supply = standing.supply
    driver = f"driven by {standing.holder}" if standing.holder else "not running"
    return Group(
        Text.assemble((standing.network, "bold"), f" in {standing.home}: {driver}"),
        Text(f"genesis {standing.genesis}, keeper {standing.keeper}"),
        Text(
            f"epoch {standing.epoch} ({standing.phase}), block {standing.height} {standing.block_hash[:16]}, "
            f"final to {standing.final_height}"
        ),
        Text(
            f"issuance {tao(supply.issuance_rao)} τ = genesis {tao(supply.genesis_rao)} + "
            f"minted {tao(supply.minted_rao)} - burned {tao(supply.burned_rao)}; "
            f"free {tao(supply.free_rao)}, staked {tao(supply.pools_rao)}"
        ),
    )


def standing_tables(standing: "taoray.Standing") -> list[RenderableType]:
    """Its cohorts, and which host answers for which peers."""
    tables: list[RenderableType] = []
    if standing.cohorts:
        tables += ["", cohort_table(standing.cohorts)]
    if standing.placement is not None:
        tables += ["", placement_table(standing.placement)]
    return tables

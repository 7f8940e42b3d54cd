"""`taoray ledger export`, `import`, `prune` and `migrate`: a home's ledger as a whole."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.exports import is_uri


def export(
    parquet: Annotated[str, typer.Option("--parquet", help="A new folder for the files, or a URI.", metavar="DIR|URI")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write blocks, extrinsics and the metagraph's history as Parquet."""
    rows = taoray.export_ledger(home_of(home).folder, parquet)
    if json:
        print_json({"folder": parquet if is_uri(parquet) else Path(parquet).absolute(), "rows": rows})
    else:
        counted = ", ".join(f"{count} rows of {name}" for name, count in rows.items())
        Console().print(f"{parquet}: {counted}", highlight=False, soft_wrap=True)


def import_(
    folder: Annotated[str, typer.Argument(help="What `taoray ledger export` wrote, or its URI.", metavar="DIR|URI")],
    home: Annotated[Path, typer.Option("--home", help="A home that has no ledger yet.")],
    json: JsonOption = False,
) -> None:
    """Make a ledger of an export: every block is executed again, and the whole verified."""
    verified = taoray.import_ledger(folder, home)
    if json:
        print_json({"home": home.absolute(), "height": verified.height, "block_hash": verified.block_hash.hex()})
        return
    Console().print(
        f"{verified.network}: {verified.height + 1} blocks derived again in {home}, final to {verified.final_height}",
        highlight=False,
        soft_wrap=True,
    )


def prune(
    keep_epochs: Annotated[int, typer.Option(min=1, help="How many closed epochs keep their extrinsics.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Give up the extrinsics of old final blocks for a snapshot; headers, votes and proofs stay."""
    height = taoray.prune_ledger(home_of(home).folder, keep_epochs)
    if json:
        print_json({"pruned_height": height})
    else:
        Console().print(f"bodies up to block {height} are gone" if height else "nothing to prune", highlight=False)


def migrate(home: HomeOption = None, json: JsonOption = False) -> None:
    """Bring the file of an older version to this version's format."""
    before, after = taoray.migrate_ledger(home_of(home).folder)
    if json:
        print_json({"before": before, "after": after})
    else:
        Console().print(f"format {before}, now {after}", highlight=False)

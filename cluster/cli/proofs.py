"""`taoray ledger prove` and `check-proof`: what a block contains, shown to somebody who has its header alone."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json


def prove(
    extrinsic: Annotated[str | None, typer.Option(help="Hash of an extrinsic, hex.", metavar="HASH")] = None,
    account: Annotated[str | None, typer.Option(help="Address of an account, there or not.", metavar="SS58")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Print a proof (one JSON document): an extrinsic with its receipt, or an account at the last block."""
    # A proof is JSON for a person too; the option is there because every command has it.
    print_json(taoray.prove(home_of(home).folder, extrinsic=extrinsic, account=account))


def check_proof(
    file: Annotated[Path, typer.Argument(help="A proof, as `taoray ledger prove` prints it.", exists=True)],
    block: Annotated[str | None, typer.Option(help="Hash of the block that you trust, hex.", metavar="HASH")] = None,
    genesis: Annotated[str | None, typer.Option(help="Hash of the genesis that you mean, hex.", metavar="HASH")] = None,
    final: Annotated[bool, typer.Option("--final", help="Ask for the votes that made the block final.")] = False,
    json: JsonOption = False,
) -> None:
    """Check a proof with the block's header that is in it, without a ledger."""
    proven = taoray.check_proof(file.read_bytes(), block_hash=block, genesis_hash=genesis, final=final)
    if json:
        print_json(
            {
                "statement": proven.statement,
                "height": proven.height,
                "epoch": proven.epoch,
                "block_hash": proven.block_hash.hex(),
                "genesis_hash": proven.genesis_hash.hex(),
                "keeper": proven.keeper,
                "final": proven.final,
            }
        )
        return
    by = "final by its votes" if proven.final else "committed, with no votes in the proof"
    Console().print(
        f"proven: {proven.statement}\nunder block {proven.height} {proven.block_hash.hex()} of network "
        f"{proven.genesis_hash.hex()[:16]}, signed by {proven.keeper}, {by}",
        highlight=False,
        soft_wrap=True,
    )

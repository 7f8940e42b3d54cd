"""`taoray ledger audit`: the votes of an epoch against their evidence."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json


def audit(
    epoch: Annotated[int, typer.Argument(min=1, help="A closed epoch.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Compute values again from the evidence, and votes from the values; exit 1 naming who differs, and in what."""
    audited = taoray.audit(home_of(home).folder, epoch)
    if json:
        print_json(
            {
                "epoch": epoch,
                "sound": not any(one.differs for one in audited),
                "votes": [asdict(one) for one in audited],
            }
        )
    console = Console(stderr=json, soft_wrap=True)
    for one in audited:
        said = "; ".join(one.differs) or f"votes for {one.votes} uids follow from evidence {one.evidence[:16]}"
        console.print(f"{one.name}: {said}", highlight=False, markup=False)
    if any(one.differs for one in audited):
        raise typer.Exit(1)

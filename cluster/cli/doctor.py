"""`taoray doctor`: what is not well with a machine, a home or a cluster, and what to do."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import taoray
from cluster.cli.job import job_address
from cluster.cli.output import HomeOption, JsonOption, print_json

COLOURS = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def doctor(
    network: Annotated[
        Path | None, typer.Argument(help="The TOML file of a network that is to run; the home's without it.")
    ] = None,
    home: HomeOption = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, whose nodes are asked too.", envvar="RAY_ADDRESS")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check versions, GPUs, ports, storage, clock, token and home; exit code 1 where a network cannot run."""
    if (server := job_address(address)) is not None:
        where = ["--home", str(home)] if home else []
        code, printed = taoray.Jobs(server).ask(["doctor", *where, "--address", "auto", *(["--json"] if json else [])])
        typer.echo(printed.rstrip("\n").splitlines()[-1] if json and printed.strip() else printed.rstrip("\n"))
        raise typer.Exit(code)
    console = Console()
    checks = []
    for check in taoray.doctor(network, home=home, address=address):
        checks.append(check)
        if not json:
            console.print(
                f"[{COLOURS[check.level]}]{check.level:4}[/] {escape(check.name)}: {escape(check.sentence)}",
                highlight=False,
                soft_wrap=True,
            )
            if check.mend:
                console.print(f"     {escape(check.mend)}", highlight=False, soft_wrap=True)
    worst = [check for check in checks if check.level == "bad"]
    if json:
        print_json({"checks": checks, "well": not worst})
    if worst:
        raise typer.Exit(1)

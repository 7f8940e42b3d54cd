"""What every command shares: options, the JSON line, errors in one line."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from cluster.config import load_network
from cluster.home import Home, find_home

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The network's folder.", envvar="TAORAY_HOME", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")]


def error_console() -> Console:
    """Where progress, notes and tables of a running command go."""
    return Console(stderr=True)


def print_json(document: Any) -> None:
    """One JSON document on one line of standard output. Bytes are hex, paths are text."""
    sys.stdout.write(msgspec.json.encode(document, enc_hook=_plain).decode() + "\n")
    sys.stdout.flush()


def print_error(error: Exception, field: str | None) -> None:
    """One line on standard error and, where the command was asked for JSON, one document on standard output."""
    Console(stderr=True, soft_wrap=True).print(
        f"[bold red]error[/]: {escape(' '.join(str(error).split()))}", highlight=False
    )
    if "--json" in sys.argv:
        code = getattr(error, "code", None)
        print_json({"error": str(error), "kind": type(error).__name__, "field": field, "code": code})


def home_of(home: Path | None, network: str | None = None) -> Home:
    """The home that a command without a configuration means: the default network's unless told."""
    return find_home(home, network or (load_network().network.name if home is None else ""))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")

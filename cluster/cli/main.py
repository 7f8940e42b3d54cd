"""The command `taoray`: its commands, its exit codes, and how it says what went wrong.

Invariants:
* exit codes: 0 done, 1 refused or failed with a reason, 2 wrong usage or configuration;
* with `--json` the last line of standard output is one JSON document, an error too; everything else goes to
  standard error;
* an interrupt ends the run cleanly, and a second launch goes on.
"""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from actors.errors import EndpointRefused
from cluster.cli import bench, doctor, evaluate, job, ledger, look, network, serve, submit, wallet
from cluster.cli.output import print_error
from cluster.errors import ClusterError, ConfigurationError
from ledger.errors import LedgerError
from models.errors import ModelsError

app = typer.Typer(
    name="taoray",
    help="A market for machine intelligence on a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("launch")(network.launch)
app.command("submit")(submit.submit)
app.command("withdraw")(submit.withdraw)
app.command("serve")(serve.serve)
app.command("evaluate")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("status")(look.status)
app.command("logs")(job.logs)
app.command("stop")(job.stop)
app.command("metagraph")(look.metagraph)
app.command("doctor")(doctor.doctor)
app.add_typer(ledger.app, name="ledger")
app.add_typer(wallet.app, name="wallet")


def _version(wanted: bool) -> None:
    if wanted:
        import taoray

        typer.echo(f"taoray {taoray.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that go before a command."""


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except ConfigurationError as error:
        print_error(error, error.field)
        sys.exit(2)
    except (ClusterError, EndpointRefused, LedgerError, ModelsError) as error:
        print_error(error, getattr(error, "field", None))
        sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

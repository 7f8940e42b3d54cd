"""`taoray serve`: a network's HTTP server in the foreground, for a network that nobody drives."""

import threading
from typing import Annotated

import typer

import taoray
from cluster.cli.output import HomeOption, JsonOption, error_console, home_of, print_json


def serve(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="The address to bind to; the configuration's without it.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; the configuration's without it. 0: any.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve a network over HTTP until interrupted: uploads, signed extrinsics, metagraph, blocks, events."""
    folder = home_of(home).folder
    try:
        with taoray.serving(folder, host=host, port=port) as url:
            network = taoray.status(folder).network
            if json:
                print_json({"network": network, "home": folder, "url": url})
            error_console().print(f"{network} in {folder}: {url}; Ctrl-C ends it", highlight=False, soft_wrap=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        error_console().print("stopped")

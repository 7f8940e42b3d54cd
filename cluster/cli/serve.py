"""`taoray serve`: a network's HTTP server in the foreground, for a network that nobody drives."""

import threading
from typing import Annotated

import typer
from msgspec.structs import replace

import taoray
from cluster.cli.output import HomeOption, JsonOption, error_console, home_of, print_json
from cluster.config import Serve
from cluster.home_door import read_settings

DEFAULT_PORT = 8642
"""Where the configuration names none."""


def serve(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option(help="The address to bind to; the configuration's without it.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; the configuration's without it. 0: any.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve a network over HTTP until interrupted: uploads, signed extrinsics, metagraph, blocks, events."""
    from cluster.serve.server import serving  # brings a web server, which no other command needs

    place = home_of(home)
    settings = read_settings(place)
    chosen = settings.serve if settings else Serve()
    chosen = replace(chosen, host=host or chosen.host, port=(chosen.port or DEFAULT_PORT) if port is None else port)
    try:
        with serving(place, chosen) as url:
            network = taoray.status(place.folder).network
            if json:
                print_json({"network": network, "home": place.folder, "url": url})
            error_console().print(
                f"{network} in {place.folder}: {url}; Ctrl-C ends it", highlight=False, soft_wrap=True
            )
            threading.Event().wait()
    except KeyboardInterrupt:
        error_console().print("stopped")

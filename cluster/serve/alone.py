"""Serving a network that nobody drives, as its last run was configured unless told otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from cluster.config import Serve
from cluster.home import Home
from cluster.home_door import read_settings
from cluster.serve.server import serving

DEFAULT_PORT = 8642
"""Where the configuration names none."""


@contextmanager
def serving_alone(home: Home, *, host: str | None = None, port: int | None = None) -> Iterator[str]:
    """Serve a home for as long as the context lasts; gives the server's URL.

    Args:
        host, port: None: as configured, DEFAULT_PORT where no port is. Port 0: any that is free.

    Raises as `serving`.
    """
    settings = read_settings(home)
    chosen = settings.serve if settings else Serve()
    chosen = replace(chosen, host=host or chosen.host, port=(chosen.port or DEFAULT_PORT) if port is None else port)
    with serving(home, chosen) as url:
        yield url

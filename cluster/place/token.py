"""Ray's token: a Ray that is started here is not left open to whoever else logs in on this machine."""

import os
import sys


def guard_ray(address: str | None) -> None:
    """Ask for the token of a Ray that this process starts; before Ray is imported, which reads this.

    A cluster that is joined says itself whether it wants one, and inside a job the environment does.
    """
    if "ray" not in sys.modules and (address or os.environ.get("RAY_ADDRESS") or "local") == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "token")

"""Stopping a network's driver on this machine, as Ctrl-C does in its terminal.

Invariants: only the process that holds the home's lease is signalled, and only while it holds the file lock, which the
system takes from the dead: a number that another process has by now is left alone.
"""

import fcntl
import os
import signal
import socket
import time

from cluster.errors import ClusterError, NoAnswer
from cluster.home import Home
from cluster.lease import Holder, read_holder

STOP_S = 120.0
"""A driver ends its actors first, each within a deadline."""
POLL_S = 0.1


def stop_driver(home: Home, *, deadline_s: float = STOP_S) -> Holder | None:
    """Ask the home's driver to end, and wait until it has; None: nobody drives it.

    Raises:
        ClusterError: it is on another machine, or another user's.
        NoAnswer: it goes on after `deadline_s`.
    """
    holder = read_holder(home.lease)
    if holder is None:
        return None
    here = socket.gethostname()
    if holder.machine != here:
        raise ClusterError(f"{holder} drives {home.folder}, and this is {here}: stop it there, or its job by --address")
    if not _locked(home):
        return None
    try:
        os.kill(holder.process, signal.SIGTERM)
    except ProcessLookupError:
        return None
    except PermissionError:
        raise ClusterError(f"{holder} drives {home.folder} for another user, who can stop it") from None
    end = time.monotonic() + deadline_s
    while _locked(home):
        if time.monotonic() > end:
            raise NoAnswer(f"{holder} still drives {home.folder} after {deadline_s:.0f} s")
        time.sleep(POLL_S)
    return holder


def _locked(home: Home) -> bool:
    """Whether a living driver has the lock on the lease."""
    try:
        lock = os.open(home.lease.with_suffix(".lock"), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False

"""The queue of a home, held by one at a time while it signs.

Invariants: whoever reads a key's nonce and queues what carries it holds the queue meanwhile: two who sign with one key
at once would take the same nonce, and the driver would publish over what was withdrawn meanwhile.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.home import Home

VALID_BLOCKS = 300
"""For how many blocks what a person queues stays valid: about a hundred epochs."""


@contextmanager
def queueing(home: Home) -> Iterator[None]:
    """Hold the home's queue; it is free again when this process lets go of it, or is gone. Not to be held twice."""
    path = home.mempool.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)

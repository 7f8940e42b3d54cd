"""Ray for as long as a run lasts: a cluster that is joined, or one on this machine.

Invariants: what was there before stays as it was: a joined cluster runs on, and a signal's handler stands again.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from cluster.errors import ClusterError
from cluster.show import Progress

LOCAL = "local"
"""The address that starts Ray on this machine."""

CALLS_KEPT = 5_000
"""Of how many past calls Ray on this machine keeps what it knows: 4 KiB each, and its own 100,000 would be 400 MiB."""


@contextmanager
def joined_ray(address: str | None, namespace: str, show: Progress) -> Iterator[None]:
    """Join a Ray cluster, or be one; left and ended as it was found.

    Args:
        address: of a cluster; None takes `RAY_ADDRESS`, or starts Ray on this machine.
        namespace: in which actors are named.

    Raises:
        ClusterError: there is no such cluster, it does not let this process in, or Ray does not start here.
    """
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    show.step("starting Ray" if where == LOCAL else f"joining Ray at {where}")
    local: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(2, os.cpu_count() or 1)}
    options = local if where == LOCAL else {}
    if where == LOCAL:
        os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", str(CALLS_KEPT))
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=where, namespace=namespace, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # bare ones among them, where a process of Ray's does not come up in time
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(f"Ray at {where}: {said[0]}") from error
    if threading.current_thread() is threading.main_thread():
        # Ray takes SIGTERM for itself and prints a trace; the handler that was there ends the run cleanly.
        signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()

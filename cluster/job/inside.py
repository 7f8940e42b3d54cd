"""What holds inside a job on a cluster: the folder it runs in is Ray's, and vanishes."""

import os
from pathlib import Path

from cluster.errors import ClusterError, ConfigurationError
from cluster.version import VERSION

SENT_BY = "TAORAY_SENT_BY"
"""Set in a job whose code is the cluster's: the version that the launch came from."""

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it in the entrypoint of a job, and nowhere else."""


def in_job() -> bool:
    """Whether this process is the entrypoint of a job on a Ray cluster, or was started by one."""
    return _JOB in os.environ


def job_home(told: Path | None, network: str) -> Path:
    """Where a job's network lives: as told, else `~/taoray-home/<network>` of the user that the cluster runs as.

    Raises ConfigurationError: the place is relative, so it would be in the job's working folder.
    """
    if told is None:
        return Path.home() / "taoray-home" / network
    place = told.expanduser()
    if not place.is_absolute():
        raise ConfigurationError("--home", f"is {str(told)!r}: in a job, whose folder vanishes, name it from / or ~")
    return place


def check_sender() -> None:
    """Raises ClusterError where the cluster's taoray is not the version that a launch came from."""
    sender = os.environ.get(SENT_BY, VERSION)
    if sender != VERSION:
        raise ClusterError(
            f"the launch came from taoray {sender} and the cluster has {VERSION}: "
            f"install {sender} there, or launch from a checkout, which sends its own code"
        )

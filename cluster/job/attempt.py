"""Attempts: a network's jobs on a cluster, one after another, each going on in the same home.

Invariants: an attempt's id says whose it is and its number, so that Ray itself refuses a second job of that number.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

ID = re.compile(r"taoray-(?P<network>[a-z0-9][a-z0-9._-]{0,62})-(?P<number>[1-9][0-9]*)")
STOPPED = "STOPPED"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
ENDED = (STOPPED, SUCCEEDED, FAILED)

INTERRUPTED = 130
"""The exit code of a run that was told to stop, as shells have it."""


@dataclass(frozen=True)
class Attempt:
    """One job of a network.

    Attributes:
        status: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED, as Ray says.
        message: what Ray says of that.
        began_s, ended_s: Unix time; None: not yet.
        home: the network's folder on the cluster, where the launch named one.
        code: the exit code of its command; None: it has not ended by itself.
    """

    network: str
    number: int
    status: str
    message: str = ""
    began_s: float | None = None
    ended_s: float | None = None
    home: str | None = None
    code: int | None = None

    @property
    def id(self) -> str:
        """Its submission id."""
        return attempt_id(self.network, self.number)

    @property
    def ended(self) -> bool:
        """Whether it will do nothing more."""
        return self.status in ENDED

    @property
    def exit_code(self) -> int:
        """How a command ends that stands for it: as its own did, a signal as shells have it."""
        if self.status == SUCCEEDED:
            return 0
        if self.status == STOPPED:
            return INTERRUPTED
        if not self.code:
            return 1
        return self.code if self.code > 0 else 128 - self.code


def attempt_id(network: str, number: int) -> str:
    """The submission id of a network's job of this number."""
    return f"taoray-{network}-{number}"


def parse_id(submission_id: str | None) -> tuple[str, int] | None:
    """The network and number of a job; None: it is not one of taoray's."""
    match = ID.fullmatch(submission_id or "")
    return (match["network"], int(match["number"])) if match else None


def entrypoint(command: Sequence[str]) -> str:
    """The shell command of a job that runs `taoray` with these arguments, with the `python` of the cluster.

    `exec` leaves no shell between Ray and the driver, so that a signal to stop reaches the driver once.
    """
    return shlex.join(["exec", "python", "-m", "cluster", *command])


def launch_command(
    network: str | None, *, epochs: int, overrides: Sequence[str], home: str | None, json: bool
) -> list[str]:
    """The arguments of a launch inside a job; `network` is the name of its TOML file there."""
    command = ["launch", *([network] if network else []), "--epochs", str(epochs)]
    for override in overrides:
        command += ["--set", override]
    if home:
        command += ["--home", home]
    return [*command, "--json"] if json else command


def explain(attempt: Attempt, last_line: str) -> str:
    """Why a job failed, where its command did not say so itself: Ray could not run it, or the cluster cannot."""
    missing = re.search(r"No module named '?(\w+)", last_line)
    if missing and missing[1] in ("cluster", "taoray"):
        return "the cluster has no taoray: install it there, or launch from a checkout, which sends its own code"
    if missing:
        return f"the cluster's Python has no {missing[1]}: install what taoray depends on there"
    if "python: not found" in last_line:
        return "the cluster has no `python` on the PATH of its head"
    if attempt.code is not None:
        return ""
    return (attempt.message.strip().splitlines() or ["it failed, and Ray does not say why"])[0]

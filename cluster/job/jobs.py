"""A network's jobs on a cluster: launched once, found again by name, read and stopped from anywhere.

Invariants: while a network's job runs, a launch of it starts nothing and finds that job; after it a launch is the next
attempt, which goes on in the same home.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cluster.config import Network, load_network
from cluster.errors import ClusterError, ConfigurationError, NoAnswer
from cluster.job.attempt import ENDED, SUCCEEDED, Attempt, attempt_id, entrypoint, launch_command
from cluster.job.folder import Sent, packed
from cluster.job.inside import SENT_BY
from cluster.job.server import JobServer, Submitted, as_dashboard
from cluster.version import VERSION

STOP_S = 60
"""How long a job may take to end its actors before Ray kills it."""
LOOK_S = 120.0
"""For a command that only looks: its process starts, reads the ledger and prints."""
POLL_S = 0.5
PREAMBLE_LINES = 8
"""Of Ray's own at the most before the line that repeats the command."""
COLUMNS = 120
"""How wide a job's tables are where the terminal that launches it has no width."""


@dataclass(frozen=True)
class Launched:
    """A network's job. `found`: it ran already, and nothing was sent."""

    attempt: Attempt
    found: bool
    sent_bytes: int = 0
    sent_files: int = 0


class Jobs:
    """The networks of a cluster, through the job server behind its dashboard, which the first call connects to.

    Args:
        address: `http://HOST:8265`.

    Each call raises as `JobServer`.
    """

    def __init__(self, address: str) -> None:
        self.address = as_dashboard(address)

    @cached_property
    def _server(self) -> JobServer:
        return JobServer(self.address)

    def launch(
        self,
        network: Path | str | None = None,
        *,
        epochs: int = 1,
        home: str | None = None,
        overrides: Sequence[str] = (),
        json: bool = False,
    ) -> Launched:
        """Start a network's job for some further epochs, or find the one that runs.

        Args:
            network: the path of a TOML file, or None for the default network.
            home: the network's folder as the cluster's nodes see it, from / or ~; None: `TAORAY_HOME` of the cluster,
                else `~/taoray-home/<network>` there.
            overrides: `section.field=value`.
            json: the job ends with the run's document.

        Raises ConfigurationError: a field is wrong, or means something on this machine alone. Nothing was sent.
        """
        file = Path(network) if network else None
        resolved = load_network(file, overrides)
        check_for_cluster(resolved, home)
        name = resolved.network.name
        with packed(file) as sent:
            while (latest := self.latest(name)) is None or latest.ended:
                number = latest.number + 1 if latest else 1
                command = launch_command(sent.network, epochs=epochs, overrides=overrides, home=home, json=json)
                job = Submitted(
                    submission_id=attempt_id(name, number),
                    entrypoint=entrypoint(command),
                    folder=sent.folder,
                    env=_environment(sent),
                    metadata={"home": home} if home else {},
                )
                if self._server.submit(job):
                    attempt = Attempt(name, number, "PENDING", home=home)
                    return Launched(attempt, False, sent.size_bytes, sent.files)
        return Launched(latest, True)

    def attempts(self, network: str | None = None) -> list[Attempt]:
        """A network's jobs, or all networks', as far as the cluster remembers; each network's latest is its last."""
        return [attempt for attempt in self._server.attempts() if network in (None, attempt.network)]

    def latest(self, network: str) -> Attempt | None:
        """A network's last job; None: it has none here."""
        found = self.attempts(network)
        return found[-1] if found else None

    def named(self, network: str | None) -> Attempt:
        """The last job of the network of this name, or of the only one where None is named.

        Raises ClusterError: there is no such job, or several networks to choose from.
        """
        known = {attempt.network: attempt for attempt in self.attempts()}
        if network is None and len(known) == 1:
            return next(iter(known.values()))
        if network in known:
            return known[network]
        names = ", ".join(sorted(known)) or "no network"
        if network is None:
            raise ClusterError(f"{self.address} has jobs of {names}: name one with --network, or launch one")
        raise ClusterError(f"{self.address} has no job of {network}; it has jobs of {names}")

    def logs(self, attempt: Attempt) -> str:
        """What a job has printed so far, its notes, steps and tables in one."""
        return self._server.logs(attempt.id)

    def follow(self, attempt: Attempt, tell: Callable[[str], None]) -> Attempt:
        """Tell what a job has printed and prints until it has ended; the job as it is then."""
        self._server.follow(attempt.id, tell)
        return self._server.attempt(attempt.id)

    def stop(self, attempt: Attempt) -> Attempt:
        """End a job as Ctrl-C ends a run, and wait until it has ended.

        Raises NoAnswer: it is still there after the time that it has.
        """
        if not attempt.ended:
            self._server.stop(attempt.id)
        return self._wait(attempt.id, STOP_S + LOOK_S)

    def ask(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command of `taoray` that only looks, on the cluster; its exit code and what it printed."""
        name = f"taoray-look.{secrets.token_hex(6)}"
        with packed(None) as sent:
            self._server.submit(Submitted(name, entrypoint(command), sent.folder, _environment(sent), {}))
        end = time.monotonic() + LOOK_S
        while (state := self._server.status(name))[0] not in ENDED:
            if time.monotonic() > end:
                self._server.stop(name)
                raise NoAnswer(f"{self.address} did not run `taoray {' '.join(command)}` within {LOOK_S:.0f} s")
            time.sleep(POLL_S)
        printed = self._server.logs(name)
        self._server.forget(name)
        code = state[1]
        return (0 if state[0] == SUCCEEDED else code or 1), without_preamble(printed)

    def _wait(self, submission_id: str, deadline_s: float) -> Attempt:
        end = time.monotonic() + deadline_s
        while not (attempt := self._server.attempt(submission_id)).ended:
            if time.monotonic() > end:
                raise NoAnswer(f"{submission_id} at {self.address} has not ended within {deadline_s:.0f} s")
            time.sleep(POLL_S)
        return attempt


def check_for_cluster(network: Network, home: str | None) -> None:
    """Raises ConfigurationError for a path that means something on this machine alone."""
    for field, paths in (("data.paths", network.data.paths), ("data.private", network.data.private)):
        for path in paths:
            if not path.startswith(("/", "~")):
                raise ConfigurationError(field, f"{path!r} is relative: in a job name it as the nodes see it, from /")
    if home is not None and not home.startswith(("/", "~")):
        raise ConfigurationError("--home", f"is {home!r}: in a job name it as the cluster's nodes see it, from / or ~")


def without_preamble(printed: str) -> str:
    """A job's log without what Ray writes before the command's own lines: that it is set up, and the command."""
    before, entry, rest = printed.partition("Running entrypoint for job ")
    return rest.partition("\n")[2] if entry and before.count("\n") <= PREAMBLE_LINES else printed


def _environment(sent: Sent) -> dict[str, str]:
    env = {
        "COLUMNS": str(shutil.get_terminal_size((COLUMNS, 24)).columns),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
    }
    return env if sent.own_code else env | {SENT_BY: VERSION}

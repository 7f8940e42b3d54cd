"""A cluster's job server: Ray's client of it, with a deadline on each call and one sentence for each mistake.

Invariants: whether there is a server, and whether it wants a token, is known before Ray is imported; the address is the
one that was told, whatever the environment says.
"""

import asyncio
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cluster.errors import ClusterError, ConfigurationError, NoAnswer
from cluster.job.attempt import ENDED, Attempt, parse_id

if TYPE_CHECKING:
    import requests

CONNECT_S = 10.0
"""For the first answer, which the head gives at once."""
ANSWER_S = 60.0
"""For any other: a head that is short of memory or processors may take its time."""
SEND_S = 300.0
"""For sending the working folder too."""
LOST_S = 60.0
"""How long a log is asked for again after its connection was lost: a dashboard restarts in less."""
QUIET_S = 60.0
"""A log that tells nothing for so long is asked for again: its connection may have gone without a word."""
AGAIN_S = 1.0
MOST_SAID = 400
"""Characters of what Ray says of an error: it sends whole traces."""
LEAST_RAY = (2, 60)

_OVERRULES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray's client takes its address from these before the one that it is given."""

T = TypeVar("T")


@dataclass(frozen=True)
class Submitted:
    """What a job is made of: `env` for its process and actors, `metadata` to be found again."""

    submission_id: str
    entrypoint: str
    folder: Path | None
    env: dict[str, str]
    metadata: dict[str, str]


def is_dashboard(address: str | None) -> bool:
    """Whether an address is that of a dashboard, not of a Ray to join."""
    return address is not None and address.startswith(("http://", "https://"))


def as_dashboard(address: str) -> str:
    """The address of a dashboard. Raises ConfigurationError: it is another kind of address."""
    if not is_dashboard(address):
        raise ConfigurationError("--address", f"is {address!r}, expected the dashboard's, as http://HOST:8265")
    return address.rstrip("/")


class JobServer:
    """Ray's job server behind the dashboard of a cluster.

    Args:
        address: `http://HOST:8265`, as the dashboard has it.

    Raises:
        ConfigurationError: that is no such address.
        NoAnswer: nobody answers there. ClusterError: somebody does who does not let us in, or is none or too old.
    """

    def __init__(self, address: str) -> None:
        self.address = as_dashboard(address)
        mode = _mode(self.address, _probe(self.address))
        self._client = self._in_time(lambda: self._connect(mode))

    def attempts(self) -> list[Attempt]:
        """Every job of a network that this cluster remembers, by network and number."""
        found = [_attempt(job) for job in self._in_time(self._client.list_jobs) if parse_id(job.submission_id)]
        return sorted(found, key=lambda attempt: (attempt.network, attempt.number))

    def status(self, submission_id: str) -> tuple[str, int | None]:
        """A job's status, and the exit code of its command where that has ended."""
        job = self._in_time(lambda: self._client.get_job_info(submission_id))
        return str(job.status), job.driver_exit_code

    def attempt(self, submission_id: str) -> Attempt:
        """One job of a network, as it is now."""
        return _attempt(self._in_time(lambda: self._client.get_job_info(submission_id)))

    def submit(self, job: Submitted) -> bool:
        """Send the folder and start the job; False: a job of this id exists."""

        def send() -> bool:
            try:
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    submission_id=job.submission_id,
                    runtime_env={"env_vars": job.env} | ({"working_dir": str(job.folder)} if job.folder else {}),
                    metadata=job.metadata,
                )
            except RuntimeError as error:
                if "already" in str(error) and job.submission_id in str(error):
                    return False
                raise
            return True

        return self._in_time(send, SEND_S)

    def logs(self, submission_id: str) -> str:
        """All that a job has printed so far."""
        return str(self._in_time(lambda: self._client.get_job_logs(submission_id)))

    def stop(self, submission_id: str) -> None:
        """Ask a job to end; it is killed where it does not within the time that its launch has set."""
        self._in_time(lambda: self._client.stop_job(submission_id))

    def forget(self, submission_id: str) -> None:
        """Take a job that has ended off the list."""
        self._in_time(lambda: self._client.delete_job(submission_id))

    def follow(self, submission_id: str, tell: Callable[[str], None]) -> None:
        """Tell what a job printed and prints, until it has ended.

        A lost connection is made again, and nothing is told twice. Raises NoAnswer where that takes too long.
        """
        told = 0
        silent_since: float | None = None
        while True:
            lost = False
            try:
                told = asyncio.run(self._tail(submission_id, told, tell))
            except _Lost as error:
                told, lost = error.told, True
            try:
                ended = self.status(submission_id)[0] in ENDED
            except NoAnswer:
                ended, lost = False, True
            else:
                if ended and not lost:
                    return
                silent_since = None if not ended else silent_since
            if lost and (silent_since := silent_since or time.monotonic()) + LOST_S < time.monotonic():
                raise NoAnswer(
                    f"the log of {submission_id} at {self.address} cannot be read any more; the job may go on"
                )
            time.sleep(AGAIN_S)

    async def _tail(self, submission_id: str, skip: int, tell: Callable[[str], None]) -> int:
        """Tell what comes after `skip` characters; how many there were. Ray has this as an asynchronous call only."""
        seen = 0
        texts = self._client.tail_job_logs(submission_id)
        while True:
            try:
                text = await asyncio.wait_for(anext(texts), QUIET_S)
            except StopAsyncIteration:
                return max(skip, seen)
            except Exception as error:  # aiohttp's, the system's or Ray's: a connection that ends is made again
                raise _Lost(max(skip, seen)) from error
            fresh = text[max(0, skip - seen) :]
            seen += len(text)
            if fresh:
                tell(fresh)

    def _connect(self, mode: str) -> Any:
        with _environment({"RAY_AUTH_MODE": mode, **dict.fromkeys(_OVERRULES)}):
            from ray.job_submission import JobSubmissionClient  # reads the mode of authentication

            logging.getLogger("ray").setLevel(logging.ERROR)
            client = JobSubmissionClient(self.address)
            for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
                logging.getLogger(name).setLevel(logging.ERROR)
        return client

    def _in_time(self, call: Callable[[], T], deadline_s: float = ANSWER_S) -> T:
        """Ray's client waits forever for a head that has gone; a thread of its own does so in our place."""
        outcome: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

        def run() -> None:
            try:
                outcome.put((call(), None))
            except BaseException as error:  # whatever it is, it is raised where it is waited for
                outcome.put((None, error))

        threading.Thread(target=run, name="job server", daemon=True).start()
        try:
            value, error = outcome.get(timeout=deadline_s)
        except queue.Empty:
            raise NoAnswer(f"the job server at {self.address} did not answer within {deadline_s:.0f} s") from None
        if error is not None:
            raise self._sentence(error) from error
        return cast(T, value)

    def _sentence(self, error: BaseException) -> Exception:
        text = " ".join(str(error).split())
        if type(error).__name__ == "AuthenticationError":
            return ClusterError(_about_token(self.address, refused="Authentication failed" in text))
        if isinstance(error, ClusterError):
            return error
        if isinstance(error, OSError):  # the connection's own, and those of requests
            return NoAnswer(f"the job server at {self.address} did not answer: {text[:MOST_SAID]}")
        return ClusterError(f"the job server at {self.address}: {text[:MOST_SAID]}")


class _Lost(Exception):
    def __init__(self, told: int) -> None:
        super().__init__(told)
        self.told = told


def _probe(address: str) -> bool:
    """Whether the server wants a token. Raises as `JobServer`, having asked it for no more than its version."""
    import requests  # a client of HTTP, which most commands do not need

    try:
        answer = requests.get(f"{address}/api/version", timeout=CONNECT_S)
    except requests.exceptions.SSLError as error:
        raise ClusterError(f"{address}: its certificate is not trusted here: {error.args[0]}") from error
    except requests.exceptions.RequestException as error:
        sentence = "is this the dashboard's address, is the cluster up, and has it a dashboard (ray[default])?"
        raise NoAnswer(f"nobody answers at {address}: {sentence}") from error
    if answer.status_code in (401, 403):
        return True
    found = _ray_version(answer)
    if found is None:
        raise ClusterError(f"what answers at {address} is no dashboard of Ray")
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < LEAST_RAY:
        least = ".".join(map(str, LEAST_RAY))
        raise ClusterError(f"the cluster at {address} runs Ray {found}; taoray needs {least} or later there")
    return False


def _ray_version(answer: "requests.Response") -> str | None:
    with suppress(ValueError, AttributeError):
        version = answer.json().get("ray_version")
        return version if answer.ok and isinstance(version, str) else None
    return None


def _mode(address: str, wants_token: bool) -> str:
    """Ray's mode of authentication, which it reads when it is imported: who asks for no token gets none."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if wants_token and mode == "disabled":
        raise ClusterError(f"the cluster at {address} asks for its token, but RAY_AUTH_MODE is disabled here")
    if wants_token and mode is None and "ray" in sys.modules:
        raise ClusterError(
            f"the cluster at {address} asks for its token: set RAY_AUTH_MODE=token before Ray is imported"
        )
    return mode or ("token" if wants_token else "disabled")


def _about_token(address: str, refused: bool) -> str:
    where = next((name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)), "")
    if refused:
        return f"the cluster at {address} refuses the token of {where or '~/.ray/auth_token'}: it is another cluster's"
    return (
        f"the cluster at {address} asks for its token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, "
        "or put it into ~/.ray/auth_token"
    )


@contextmanager
def _environment(wanted: dict[str, str | None]) -> Iterator[None]:
    """Variables as they are wanted, None: unset; afterwards as they were."""
    before = {name: os.environ.get(name) for name in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _attempt(job: Any) -> Attempt:
    network, number = parse_id(job.submission_id) or ("", 0)
    return Attempt(
        network=network,
        number=number,
        status=str(job.status),
        message=job.message or "",
        began_s=job.start_time / 1000 if job.start_time else None,
        ended_s=job.end_time / 1000 if job.end_time else None,
        home=(job.metadata or {}).get("home"),
        code=job.driver_exit_code,
    )

"""Who answers at an address that is no cluster's, too old, silent or closed to us: one sentence each, and no job."""

import asyncio
import threading
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.errors import ClusterError, ConfigurationError, NoAnswer
from cluster.job import server as server_module
from cluster.job.server import JobServer
from cluster.version import ROOT

Answer = tuple[int, str]


@pytest.fixture
def answering() -> Iterator[Callable[[Answer | None], str]]:
    """Starts a server that gives one answer to whatever is asked, None: never one; its address."""
    servers = []
    ended = threading.Event()

    def start(answer: Answer | None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if answer is None:
                    ended.wait(30)
                    return
                self.send_response(answer[0])
                self.end_headers()
                self.wfile.write(answer[1].encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    ended.set()
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "<html>hello</html>"), "no dashboard of Ray"),
        ((200, '["ray_version"]'), "no dashboard of Ray"),
        ((404, "not found"), "no dashboard of Ray"),
        ((200, '{"version": "4", "ray_version": "2.9.3"}'), r"runs Ray 2\.9\.3; taoray needs 2\.60"),
        ((401, "Unauthorized"), "asks for its token, but RAY_AUTH_MODE is disabled"),
    ],
)
def test_who_answers_otherwise_is_named(
    answering: Callable[[Answer | None], str], monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ClusterError, match=words):
        JobServer(answering(answer))


def test_who_does_not_answer_is_waited_for_with_a_deadline(
    answering: Callable[[Answer | None], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECT_S", 0.2)
    address = answering(None)
    with pytest.raises(NoAnswer, match=address):
        JobServer(address)
    with pytest.raises(NoAnswer, match="nobody answers"):
        JobServer("http://127.0.0.1:1")


def test_the_least_ray_is_the_one_that_is_installed_here() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    least = ".".join(map(str, server_module.LEAST_RAY))
    assert f"ray[default]>={least}" in wanted


@pytest.mark.parametrize("address", ["", "head:8265", "ray://head:10001", "auto"])
def test_an_address_is_the_dashboards(address: str) -> None:
    with pytest.raises(ConfigurationError, match="8265"):
        JobServer(address)


class _Silent(JobServer):
    """A job server that is connected to, and says nothing any more."""

    def __init__(self) -> None:
        self.address = "http://head:8265"


def test_each_call_has_a_deadline_and_each_error_a_sentence() -> None:
    silent = _Silent()
    with pytest.raises(NoAnswer, match="head:8265 did not answer"):
        silent._in_time(lambda: time.sleep(5), 0.05)
    for error, words in (
        (ConnectionResetError("reset by peer"), "did not answer: reset by peer"),
        (RuntimeError("Request failed\nwith status code 500"), "Request failed with status code 500"),
        (NoAnswer("said"), "said"),
    ):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(ClusterError, match=words):
            silent._in_time(fail)


def test_a_log_whose_connection_is_lost_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes again from the beginning after a connection was lost, or went silent, is passed over."""
    monkeypatch.setattr(server_module, "AGAIN_S", 0.01)
    monkeypatch.setattr(server_module, "QUIET_S", 0.1)
    parts: list[list[str | Exception | float]] = [
        ["one\n", "tw", OSError("lost")],
        [RuntimeError("still away")],
        ["one\n", 5.0],
        ["one\ntw", "o\nthree\n"],
    ]
    told: list[str] = []

    class Client:
        async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
            for part in parts.pop(0):
                if isinstance(part, Exception):
                    raise part
                if isinstance(part, float):
                    await asyncio.sleep(part)
                else:
                    yield part

    following = _Silent()
    following._client = Client()
    monkeypatch.setattr(following, "status", lambda name: ("SUCCEEDED" if not parts else "RUNNING", None))
    following.follow("taoray-a-1", told.append)
    assert "".join(told) == "one\ntwo\nthree\n"
    monkeypatch.setattr(server_module, "LOST_S", 0.05)

    def closed(text: str) -> None:
        raise BrokenPipeError

    parts += [["one\n"]]
    with pytest.raises(BrokenPipeError):
        following.follow("taoray-a-1", closed)

    def away(name: str) -> tuple[str, int | None]:
        raise NoAnswer("away")

    monkeypatch.setattr(following, "status", away)
    parts += [[OSError("lost")] for _ in range(50)]
    with pytest.raises(NoAnswer, match="taoray-a-1"):
        following.follow("taoray-a-1", told.append)
    assert parts, "it gave up before it had asked fifty times"

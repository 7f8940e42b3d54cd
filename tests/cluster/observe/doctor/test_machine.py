"""A machine's checks, each made to fail for real where this machine allows it."""

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.observe.doctor.machine import (
    check_clock,
    check_dashboard,
    check_free_port,
    check_head,
    check_open_files,
    check_open_port,
    check_shared_memory,
    check_token,
)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_shared_memory(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path).level == "ok"
    assert check_shared_memory(tmp_path / "none").level == "warn"
    if Path("/proc/self").exists():
        assert check_shared_memory(Path("/proc")).level == "warn", "a filesystem without room"


def test_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (800, hard))
        assert check_open_files().level == "bad"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert check_open_files(4096).level == "warn"
    assert check_open_files(65_536).level == "ok"
    assert check_open_files(resource.RLIM_INFINITY).level == "ok"


def test_the_clock() -> None:
    assert check_clock(0.0).level == "ok"
    behind = check_clock(time.time() + 3600)
    assert behind.level == "bad"
    assert "behind" in behind.sentence
    wall = iter([2e9, 2e9 + 30.0])
    assert check_clock(0.0, wall=lambda: next(wall)).level == "warn", "somebody set it meanwhile"


def test_ports(listening: int) -> None:
    assert check_open_port("p", "127.0.0.1", listening, "a server").level == "ok"
    taken = check_free_port("p", "127.0.0.1", listening, "a server")
    assert taken.level == "bad"
    assert "in use" in taken.sentence
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert check_free_port("p", "127.0.0.1", free, "a server").level == "ok"
    assert check_open_port("p", "127.0.0.1", free, "a server").level == "bad"
    assert check_free_port("p", "192.0.2.250", 0, "a server").level == "bad", "no address of this machine"


def test_a_head_and_a_dashboard(listening: int) -> None:
    assert "--address auto" in check_head(listening).sentence
    assert check_dashboard("127.0.0.1", listening).level == "ok"
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert "no Ray head" in check_head(free).sentence
    assert check_head(free).level == "ok"
    assert check_dashboard("127.0.0.1", free).level == "warn"


@pytest.mark.parametrize(
    ("environment", "joining", "level"),
    [
        ({}, "", "ok"),
        ({}, "10.0.0.1:6379", "bad"),
        ({"RAY_AUTH_TOKEN": "a" * 32}, "10.0.0.1:6379", "ok"),
        ({"RAY_AUTH_MODE": "disabled"}, "", "ok"),
        ({"RAY_AUTH_MODE": "disabled"}, "127.0.0.1:6379", "ok"),
        ({"RAY_AUTH_MODE": "disabled"}, "http://10.0.0.1:8265", "warn"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "", "bad"),
    ],
)
def test_tokens_that_are_not_in_a_file(environment: dict[str, str], joining: str, level: str, tmp_path: Path) -> None:
    check = check_token(environment, tmp_path, joining)
    assert check.level == level
    assert "a" * 32 not in check.sentence


def test_tokens_in_a_file(tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text(" \n")
    assert check_token({}, tmp_path, "").level == "bad", "it is empty"
    token.write_text("secret")
    token.chmod(0o644)
    open_to_all = check_token({}, tmp_path, "10.0.0.1:6379")
    assert (open_to_all.level, open_to_all.mend) == ("warn", f"chmod 600 {token}")
    token.chmod(0o600)
    closed = check_token({"RAY_AUTH_TOKEN_PATH": str(token)}, tmp_path / "else", "10.0.0.1:6379")
    assert closed.level == "ok"
    assert "secret" not in closed.sentence

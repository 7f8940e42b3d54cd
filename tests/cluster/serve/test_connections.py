"""Connections that are slow, many, or speak something else: they are cut, and the others are answered."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import Serve
from cluster.home import Home
from cluster.serve import server as module
from cluster.serve.server import serving


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[tuple[str, int]]:
    """A server that waits for a head for a third of a second."""
    monkeypatch.setattr(module, "HEAD_S", 0.3)
    with serving(Home(home), Serve()) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes; one that never does is a timeout."""
    connection.settimeout(20)
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("sent", [b"", b"GET /terms HTTP/1.1\r\nHost: x\r\nX: "], ids=["nothing", "half a head"])
def test_a_connection_without_a_request_is_cut(hasty: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(hasty) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_a_head_that_drips_is_cut(hasty: tuple[str, int]) -> None:
    with socket.create_connection(hasty) as connection:
        connection.sendall(b"GET /terms HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(100):
                connection.sendall(b"X: y\r\n")
                time.sleep(0.05)
        except OSError:
            return
    pytest.fail("the server listened to the whole drip")


def test_a_head_that_is_too_long_is_refused(hasty: tuple[str, int]) -> None:
    with socket.create_connection(hasty) as connection:
        connection.sendall(b"GET /terms HTTP/1.1\r\nX: " + b"y" * (1 << 20))
        assert b" 400 " in read_all(connection).splitlines()[0] + b" 400 "


def test_a_body_that_drips_is_refused(hasty: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.serve.asked.BODY_S", 0.3)
    with socket.create_connection(hasty) as connection:
        connection.sendall(b"POST /extrinsics HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        answered = read_all(connection)
    assert answered.startswith(b"HTTP/1.1 408")
    assert b"body_slow" in answered


@pytest.mark.thorough
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from(
                [b"GET /terms HTTP/1.1\r\n", b"PUT /uploads/00/x?offset=-1 HTTP/1.1\r\n", b"\r\n", b"Host: x\r\n"]
            ),
            st.sampled_from([b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: websocket\r\n"]),
            st.sampled_from([b"taoray-key: \xff\r\n", b"Connection: upgrade\r\n", b"0\r\n\r\n"]),
        ),
        max_size=8,
    )
)
def test_no_bytes_end_the_server(reading_url: str, sent: list[bytes]) -> None:
    host, port = reading_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"".join(sent))
    assert requests.get(f"{reading_url}/terms", timeout=30).status_code == 200


def test_others_are_answered_while_some_are_slow(hasty: tuple[str, int]) -> None:
    slow = [socket.create_connection(hasty) for _ in range(40)]
    try:
        for connection in slow:
            connection.sendall(b"GET /terms HTTP/1.1\r\n")
        assert requests.get(f"http://{hasty[0]}:{hasty[1]}/terms", timeout=30).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_connections_are_bounded(hasty: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_S", 60.0)
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 4)
    held = [socket.create_connection(hasty) for _ in range(4)]
    try:
        with socket.create_connection(hasty) as one_more:
            assert read_all(one_more) == b""
    finally:
        for connection in held:
            connection.close()

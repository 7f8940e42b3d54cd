"""The server itself: uvicorn in a thread, on a socket that is bound before it starts.

Invariants: what goes wrong with the address is said before anything is served; a connection that sends its head or
reads its answer too slowly is cut, and so are those beyond a number, by address and in all.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cluster.config import Serve
from cluster.errors import ClusterError, ConfigurationError
from cluster.home import Home
from cluster.home_door import HomeDoor
from cluster.serve.app import make_app

HEAD_S = 15.0
"""How long a connection may be open without a request under way: a slow head, or a rest of a refused body."""

WRITE_S = 60.0
"""How long an answer may wait for its reader."""

HEAD_BYTES = 16 << 10
MOST_CONNECTIONS = 256
CONNECTIONS_PER_ADDRESS = 32
"""By address, but for this machine's own: through a proxy everybody comes from there."""

STOP_S = 10.0


class Fuse:
    """Cuts a connection after a time, unless it is put out before."""

    def __init__(self, connection: H11Protocol, after_s: float) -> None:
        self._connection = connection
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None

    def light(self) -> None:
        """Let it burn from now, unless it does already."""
        if self._timer is None:
            self._timer = self._connection.loop.call_later(self._after_s, self._connection.transport.abort)

    def put_out(self) -> None:
        """Stop it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Protocol(H11Protocol):
    """HTTP/1.1 with deadlines for who sends or reads slowly."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        self._resting, self._writing = Fuse(self, HEAD_S), Fuse(self, WRITE_S)
        if len(self.connections) > MOST_CONNECTIONS or self._crowds():
            transport.abort()
        else:
            self._resting.light()

    def data_received(self, data: bytes) -> None:
        """Take data in; while it leads to no request, the fuse burns."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._resting.put_out()
        else:
            self._resting.light()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to cut."""
        super().connection_lost(exc)
        self._resting.put_out()
        self._writing.put_out()

    def pause_writing(self) -> None:
        """The reader is behind."""
        super().pause_writing()
        self._writing.light()

    def resume_writing(self) -> None:
        """The reader caught up."""
        super().resume_writing()
        self._writing.put_out()

    def _crowds(self) -> bool:
        host = self.client[0] if self.client else ""
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_loopback:
                return False
        others = [other.client for other in self.connections if isinstance(other, Protocol) and other.client]
        return [client[0] for client in others].count(host) > CONNECTIONS_PER_ADDRESS


@contextlib.contextmanager
def serving(home: Home, settings: Serve) -> Iterator[str]:
    """Serve a home for as long as the context lasts; gives the server's URL. Port 0 takes any that is free.

    Raises:
        ConfigurationError: the address cannot be bound. ClusterError: the home holds no network, another server serves
            it, or this one did not start.
    """
    listening = _bind(settings)
    door = HomeDoor(home)
    try:
        app = make_app(door, settings, home)
    except BaseException:
        listening.close()
        door.close()
        raise
    config: dict[str, Any] = {
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "log_level": "error",
        "access_log": False,
        "server_header": False,
        "h11_max_incomplete_event_size": HEAD_BYTES,
        "timeout_keep_alive": int(HEAD_S),
        "timeout_graceful_shutdown": int(STOP_S / 2),
    }
    server = uvicorn.Server(uvicorn.Config(app, **config))
    thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
    try:
        thread.start()
        _wait_until_started(server, thread)
        yield url_of(listening)
    finally:
        app.state.service.stopping.set()
        server.should_exit = True
        thread.join(STOP_S)
        app.state.service.close()
        door.close()
        listening.close()


def url_of(listening: socket.socket) -> str:
    """The URL of a socket that listens."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _bind(settings: Serve) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        raise ConfigurationError("serve.port", f"{settings.host}:{settings.port} cannot be bound: {error}") from error
    # Connections have it from here. Without it an answer's body waits 40 ms for the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setblocking(False)
    return listening


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(STOP_S / 0.01)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.01)
    raise ClusterError("the HTTP server did not start")

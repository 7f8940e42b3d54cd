"""A remote peer's endpoint that misbehaves as told, in front of an honest one or by itself; tests use it too.

    python benchmarks/hostile_peer.py PORT FILE UPSTREAM WALLETS WALLET

FILE holds the name of the behaviour, and is read anew at each question; UPSTREAM is the address of the honest peer that
is asked where a true reply is needed. A plain socket for each connection: HTTP libraries refuse to say what is said
here.
"""

import contextlib
import http.client
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import numpy as np  # noqa: E402

from actors.remote_wire import Seen, answer_question, open_question, reply_bytes  # noqa: E402
from ledger.keys import Keypair  # noqa: E402
from ledger.wallet import Wallet  # noqa: E402

GIGABYTE = 1_000_000_000
BLOCK = bytes(1 << 20)
DRIP_S = 0.05
LONGEST_S = 600.0
"""After which a stalled connection is given up, so that no thread stays."""

Honest = Callable[[bytes], bytes]
"""A question's true reply."""


class Exchange:
    """One question, and the connection on which it is answered."""

    def __init__(self, connection: socket.socket, question: bytes, honest: Honest, hotkey: Keypair, past: list[Any]):
        self.question, self.honest, self.hotkey, self.past = question, honest, hotkey, past
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def reply(self, body: bytes, *, status: str = "200 OK", more: str = "", length: int | None = None) -> None:
        """Send an HTTP reply."""
        told = len(body) if length is None else length
        head = f"HTTP/1.1 {status}\r\nContent-Length: {told}\r\nContent-Type: application/octet-stream\r\n{more}\r\n"
        self.send(head.encode() + body)

    def stall(self) -> None:
        """Wait until the other side gives up."""
        self._connection.settimeout(LONGEST_S)
        with contextlib.suppress(OSError):
            self._connection.recv(1)

    def drip(self, data: bytes) -> None:
        """Send a byte now and then."""
        for index in range(len(data)):
            self.send(data[index : index + 1])
            time.sleep(DRIP_S)

    def said_by(self, hotkey: Keypair, said_of: Callable[[int], Any]) -> bytes:
        """A well-formed reply with made-up distributions."""
        envelope = msgspec.msgpack.decode(self.question)
        seen = Seen(now_s=0.0)
        receiver = _Speaker(envelope[2], hotkey)
        question = open_question(self.question, receiver, genesis=envelope[0], asker=envelope[1], seen=seen)
        return answer_question(question, said_of(len(question.query.text_WT)), hotkey)


class _Speaker(Keypair):
    """Opens what was sent to one hotkey with the secret of another."""

    def __init__(self, public: bytes, hotkey: Keypair) -> None:
        super().__init__(hotkey._signing)
        self.public = public


def random_said(windows: int) -> Any:
    """Distributions that know nothing, other ones each time."""
    return np.log(np.random.default_rng().dirichlet(np.ones(256), windows)).astype(np.float32)


def honest(exchange: Exchange) -> None:
    """As it should be."""
    exchange.reply(exchange.honest(exchange.question))


def lies(exchange: Exchange) -> None:
    """Random distributions, well signed."""
    exchange.reply(exchange.said_by(exchange.hotkey, random_said))


def doubles(exchange: Exchange) -> None:
    """Probabilities that sum to 2."""
    exchange.reply(exchange.said_by(exchange.hotkey, lambda windows: random_said(windows) + np.float32(np.log(2))))


def boasts(exchange: Exchange) -> None:
    """Certain of one byte, always."""
    row = np.full(256, -np.inf, np.float32)
    row[ord("e")] = 0.0
    exchange.reply(exchange.said_by(exchange.hotkey, lambda windows: np.tile(row, (windows, 1))))


def not_a_number(exchange: Exchange) -> None:
    """NaN for every probability."""
    exchange.reply(exchange.said_by(exchange.hotkey, lambda windows: np.full((windows, 256), np.nan, np.float32)))


def tampers(exchange: Exchange) -> None:
    """A middleman that alters one byte of the reply."""
    reply = bytearray(exchange.honest(exchange.question))
    reply[len(reply) // 2] ^= 1
    exchange.reply(bytes(reply))


def signs_for_another(exchange: Exchange) -> None:
    """A reply signed by another key than the one that was asked."""
    exchange.reply(exchange.said_by(Keypair.generate(), random_said))


def alters_the_question(exchange: Exchange) -> None:
    """A middleman that alters one byte of the question."""
    question = bytearray(exchange.question)
    question[len(question) // 2] ^= 1
    exchange.reply(exchange.honest(bytes(question)))


def replays(exchange: Exchange) -> None:
    """The first reply that there ever was, for ever."""
    if not exchange.past:
        exchange.past.append(exchange.honest(exchange.question))
    exchange.reply(exchange.past[0])


def reorders(exchange: Exchange) -> None:
    """To each question the reply to the one before."""
    exchange.past.append(exchange.honest(exchange.question))
    exchange.reply(exchange.past[-2] if len(exchange.past) > 1 else exchange.past[-1])


def asks_twice(exchange: Exchange) -> None:
    """A middleman that puts the same question to the peer twice and passes on the second reply."""
    exchange.honest(exchange.question)
    exchange.reply(exchange.honest(exchange.question))


def stalls(exchange: Exchange) -> None:
    """Nothing at all."""
    exchange.stall()


def drips_its_head(exchange: Exchange) -> None:
    """A head of the reply that never ends, byte by byte."""
    exchange.drip(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 10_000)


def drips_its_body(exchange: Exchange) -> None:
    """The true reply, byte by byte."""
    reply = exchange.honest(exchange.question)
    exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n".encode())
    exchange.drip(reply)


def sends_a_gigabyte(exchange: Exchange) -> None:
    """A body of 10^9 bytes, as its head says."""
    exchange.reply(b"", length=GIGABYTE)
    for _ in range(GIGABYTE // len(BLOCK)):
        exchange.send(BLOCK)


def sends_without_end(exchange: Exchange) -> None:
    """A body in chunks of which nobody says how many, 10^9 bytes and more."""
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(GIGABYTE // len(BLOCK) + 1):
        exchange.send(f"{len(BLOCK):x}\r\n".encode() + BLOCK + b"\r\n")


def sends_crumbs(exchange: Exchange) -> None:
    """The true reply in chunks of one byte each."""
    reply = exchange.honest(exchange.question)
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.send(b"".join(b"1\r\n" + reply[index : index + 1] + b"\r\n" for index in range(len(reply))))
    exchange.send(b"0\r\n\r\n")


def says_go_on(exchange: Exchange) -> None:
    """That it will answer, as HTTP allows, again and again."""
    for _ in range(GIGABYTE // len(BLOCK)):
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * (len(BLOCK) // 25))


def sends_a_bomb(exchange: Exchange) -> None:
    """A gigabyte of zeros, compressed to about as much as the reply should have."""
    packer = zlib.compressobj(9, wbits=31)
    first = packer.compress(BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    exchange.reply(first + again * (GIGABYTE // len(BLOCK)), more="Content-Encoding: gzip\r\n")


def sends_an_endless_head(exchange: Exchange) -> None:
    """A header of 10^9 bytes."""
    exchange.send(b"HTTP/1.1 200 OK\r\nX-More: ")
    for _ in range(GIGABYTE // len(BLOCK)):
        exchange.send(b"x" * len(BLOCK))


def closes_half_way(exchange: Exchange) -> None:
    """Half of the true reply."""
    reply = exchange.honest(exchange.question)
    exchange.reply(reply[: len(reply) // 2], length=len(reply))


def answers_too_little(exchange: Exchange) -> None:
    """Half of the true reply, as if that were all."""
    reply = exchange.honest(exchange.question)
    exchange.reply(reply[: len(reply) // 2])


def hangs_up(exchange: Exchange) -> None:
    """Closes the connection without a word."""


def redirects(exchange: Exchange) -> None:
    """Sends the network elsewhere: to a cloud's description of the machine."""
    exchange.reply(b"", status="307 Temporary Redirect", more="Location: http://169.254.169.254/latest/meta-data\r\n")


def fails(exchange: Exchange) -> None:
    """An error of the server."""
    exchange.reply(b"out of order", status="500 Internal Server Error")


def babbles(exchange: Exchange) -> None:
    """No HTTP."""
    exchange.send(b"220 mail.example.org ESMTP\r\n")


def fills(exchange: Exchange) -> None:
    """Zeros, as many as a reply has bytes."""
    exchange.reply(bytes(reply_bytes(msgspec.msgpack.decode(msgspec.msgpack.decode(exchange.question)[6])[2])))


HONEST_OR_LIES = (honest, lies, doubles, boasts, not_a_number)
"""Well-formed and well signed: what they say is for validators to judge."""
FORGERIES = (tampers, signs_for_another, alters_the_question, replays, reorders, asks_twice, fills)
SLOW = (stalls, drips_its_head, drips_its_body)
FLOODS = (sends_a_gigabyte, sends_without_end, sends_crumbs, says_go_on, sends_a_bomb, sends_an_endless_head)
BROKEN = (closes_half_way, answers_too_little, hangs_up, redirects, fails, babbles)
BEHAVIOURS = {
    function.__name__: function for group in (HONEST_OR_LIES, FORGERIES, SLOW, FLOODS, BROKEN) for function in group
}


@contextmanager
def serving(choose: Callable[[], str], honest_reply: Honest, hotkey: Keypair, port: int = 0) -> Iterator[str]:
    """An endpoint for as long as the context: its address.

    Args:
        choose: names the behaviour for the question that just came.
    """
    past: dict[str, list[Any]] = {}
    with socket.create_server(("127.0.0.1", port)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            # OSError: the other side has had enough, as it should.
            with connection, contextlib.suppress(OSError, ConnectionError):
                name = choose()
                question = read_question(connection)
                BEHAVIOURS[name](Exchange(connection, question, honest_reply, hotkey, past.setdefault(name, [])))

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def read_question(connection: socket.socket) -> bytes:
    """The body of the request."""
    connection.settimeout(LONGEST_S)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    size = int(lengths[0].partition(b":")[2])
    while len(body) < size:
        body += _received(connection)
    return body


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise ConnectionError("the question ended early")
    return data


def forward(upstream: str) -> Honest:
    """Asks the honest peer. Its refusals become empty replies."""
    host, _, port = upstream.removeprefix("http://").rstrip("/").partition(":")

    def ask(question: bytes) -> bytes:
        connection = http.client.HTTPConnection(host, int(port), timeout=LONGEST_S)
        try:
            connection.request("POST", "/", question)
            response = connection.getresponse()
            body = response.read()
            return body if response.status == 200 else b""
        finally:
            connection.close()

    return ask


def main() -> None:
    """Serve until interrupted."""
    port, file, upstream, wallets, wallet = sys.argv[1:]
    hotkey = Wallet.open(Path(wallets), wallet).hotkey()
    with serving(lambda: Path(file).read_text().strip(), forward(upstream), hotkey, int(port)):
        threading.Event().wait()


if __name__ == "__main__":
    main()

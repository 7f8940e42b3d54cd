"""Signed requests: a key says who sends a request, when, where to, and what is in it.

Invariants: a signature is for one network, method, address with its query, time and body, and is taken once; it is
checked before the body is read; what is remembered of the past is bounded in time and number.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from cluster.serve.errors import HttpRefused
from ledger.errors import InvalidKey
from ledger.keys import Keypair, decode_address, verify
from ledger.units import blake2b_256

HTTP_DOMAIN = b"taoray/http/1"
WINDOW_MS = 60_000
"""How far a request's time may be from the server's."""

NONCE_BYTES = 16
MOST_NONCES = 100_000
"""Remembered at once: more signed requests in two minutes than the rate of a hundred addresses lets through."""

KEY, TIME, NONCE, BODY, SIGNATURE = (
    "taoray-key",
    "taoray-time",
    "taoray-nonce",
    "taoray-body",
    "taoray-signature",
)
"""The headers: an address, Unix milliseconds, and three in hexadecimal; `taoray-body` is the body's BLAKE2b-256."""


class Signed(NamedTuple):
    """Who signed a request, and the hash of the body that has to come with it."""

    key: bytes
    body_hash: bytes


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def sign_request(
    keypair: Keypair, genesis_hash: bytes, method: str, target: str, body: bytes, *, time_ms: int | None = None
) -> dict[str, str]:
    """The headers that sign a request.

    Args:
        target: path and query as they are sent, such as /uploads/00ab…?x=1.
        time_ms: when it is sent; None: now.
    """
    at, nonce, body_hash = now_ms() if time_ms is None else time_ms, secrets.token_bytes(NONCE_BYTES), blake2b_256(body)
    message = signed_message(genesis_hash, keypair.public, method, target, at, nonce, body_hash)
    return {
        KEY: keypair.address,
        TIME: str(at),
        NONCE: nonce.hex(),
        BODY: body_hash.hex(),
        SIGNATURE: keypair.sign(message).hex(),
    }


def signed_message(
    genesis_hash: bytes, key: bytes, method: str, target: str, time_ms: int, nonce: bytes, body_hash: bytes
) -> bytes:
    """What is signed: the domain tag, genesis hash and key, then method and target with their lengths (2 bytes, most
    significant first), time (8 bytes), nonce and the body's hash.
    """
    named = b"".join(len(part).to_bytes(2, "big") + part for part in (method.encode(), target.encode()))
    return HTTP_DOMAIN + genesis_hash + key + named + time_ms.to_bytes(8, "big") + nonce + body_hash


class Gatekeeper:
    """Checks the signatures of one network's requests. Its method may be called from several threads."""

    def __init__(self, genesis_hash: bytes, *, started_ms: int | None = None) -> None:
        self._genesis_hash = genesis_hash
        self._started_ms = now_ms() if started_ms is None else started_ms
        self._lock = threading.Lock()
        self._seen: set[bytes] = set()
        self._order: deque[tuple[int, bytes]] = deque()

    def check(self, headers: Mapping[str, str], method: str, target: str, *, at_ms: int | None = None) -> Signed:
        """Who signed this request.

        Raises:
            HttpRefused: `unsigned`, `stale`, `wrong_signature`, `replayed`, or `busy` where too many are remembered.
        """
        at_ms = now_ms() if at_ms is None else at_ms
        key = _read_key(headers)
        time_ms = _read_time(headers)
        nonce, body_hash, signature = (
            _read_hex(headers, name, size) for name, size in ((NONCE, NONCE_BYTES), (BODY, 32), (SIGNATURE, 64))
        )
        # What came before the server started is not remembered, so it is not taken either.
        if not max(at_ms - WINDOW_MS, self._started_ms) <= time_ms <= at_ms + WINDOW_MS:
            raise HttpRefused("stale", f"the request is of {time_ms} ms, here it is {at_ms} ms of Unix time")
        message = signed_message(self._genesis_hash, key, method, target, time_ms, nonce, body_hash)
        if not verify(key, message, signature):
            raise HttpRefused("wrong_signature", "the signature is not this key's, for this request and network")
        self._remember(key + nonce, at_ms)
        return Signed(key, body_hash)

    def _remember(self, mark: bytes, at_ms: int) -> None:
        """A request is in the window for two minutes at most: a minute early, then a minute late."""
        with self._lock:
            while self._order and self._order[0][0] < at_ms - 2 * WINDOW_MS:
                self._seen.discard(self._order.popleft()[1])
            if mark in self._seen:
                raise HttpRefused("replayed", "a request with this key and nonce was taken before")
            if len(self._seen) >= MOST_NONCES:
                raise HttpRefused("busy", "too many signed requests came in the last minutes", 60.0)
            self._seen.add(mark)
            self._order.append((at_ms, mark))


def _read_key(headers: Mapping[str, str]) -> bytes:
    try:
        return decode_address(headers.get(KEY, ""))
    except InvalidKey as error:
        raise HttpRefused("unsigned", f"the header {KEY}: {error}") from None


def _read_time(headers: Mapping[str, str]) -> int:
    text = headers.get(TIME, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise HttpRefused("unsigned", f"the header {TIME} is not Unix time in milliseconds")
    return int(text)


def _read_hex(headers: Mapping[str, str], name: str, size: int) -> bytes:
    text = headers.get(name, "")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or len(text) != 2 * size:
        raise HttpRefused("unsigned", f"the header {name} is not {size} bytes in hexadecimal")
    return value

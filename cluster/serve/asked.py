"""What a request says: who signed it, its body, its query and path, each within bounds.

Invariants: what cannot be read is refused and named; a body is read within a size and a time.
"""

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from cluster.serve.errors import HttpRefused
from cluster.serve.limits import neighbourhood
from cluster.serve.service import Service
from cluster.serve.signing import Signed
from ledger.units import blake2b_256

BODY_S = 120.0
"""How long a body may take: a chunk of 8 MiB at 70 KiB a second."""


def service_of(request: Request) -> Service:
    """The server behind a request."""
    service: Service = request.app.state.service
    return service


def address_of(request: Request) -> str:
    """Whom limits by address mean."""
    return neighbourhood(request.client.host if request.client else "")


def check_signed(request: Request) -> Signed:
    """Who signed a request. HttpRefused."""
    query = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    gatekeeper = service_of(request).gatekeeper
    return gatekeeper.check(request.headers, request.method, target.decode("latin-1"))


def body_length(request: Request, most_bytes: int) -> int:
    """The length that a body says it has. HttpRefused where it says none, or is too long."""
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise HttpRefused("bad_request", "the header Content-Length is missing or is no number")
    if int(text) > most_bytes:
        raise HttpRefused("body_too_large", f"the body has {text} bytes, this address takes {most_bytes}")
    return int(text)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """A request's body. HttpRefused `body_too_large`, `body_slow`, or `bad_request` where the client went away."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise HttpRefused("body_too_large", f"the body has more than the {most_bytes} bytes taken here")
    except TimeoutError:
        raise HttpRefused("body_slow", f"the body did not come within {BODY_S:.0f} s") from None
    except ClientDisconnect:
        raise HttpRefused("bad_request", "the connection ended before the body did") from None
    return bytes(body)


async def read_signed(request: Request, signed: Signed, most_bytes: int) -> bytes:
    """The body that was signed. HttpRefused as `read_body`, and `body_changed` where it is another."""
    body = await read_body(request, most_bytes)
    if await run_in_threadpool(blake2b_256, body) != signed.body_hash:
        raise HttpRefused("body_changed", "the body is not the one whose hash was signed")
    return body


def whole(request: Request, name: str) -> int | None:
    """A whole number of the query, None where it is not given. HttpRefused `bad_request`."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise HttpRefused("bad_request", f"{name} is {text[:32]!r}, expected a whole number")
    return int(text)


def hash_of(request: Request, name: str) -> bytes:
    """A hash in the path. HttpRefused `bad_request`."""
    try:
        value = bytes.fromhex(request.path_params[name])
    except ValueError:
        value = b""
    if len(value) != 32:
        raise HttpRefused("bad_request", f"{name} is not 32 bytes in hexadecimal")
    return value

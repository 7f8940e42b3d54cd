"""What the server answers at each address: requests taken apart here, decided in `service`.

Invariants: a signature is checked before a body is read, and a body is read within a size and a time; what may block
runs in a thread.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cluster.door import Holdings, Receipt, Registered, Terms
from cluster.observe.health import Alive, Health
from cluster.report import EpochRecord
from cluster.serve.asked import (
    address_of,
    body_length,
    check_signed,
    hash_of,
    read_body,
    read_signed,
    service_of,
    whole,
)
from cluster.serve.errors import HttpRefused
from cluster.serve.reading import BlockRecord
from cluster.serve.service import Service
from cluster.serve.upload import CHUNK_BYTES, Standing
from cluster.serve.wire import encode_json
from ledger.keys import decode_address
from models.manifest import MAXIMUM_FILES

MANIFEST_BYTES = 64 + MAXIMUM_FILES * 384
"""A file's name, hash and size have less than 384 bytes."""

POLL_S = 0.5
BEAT_S = 15.0
"""How often a stream looks for a closed epoch, and how often it says that it is alive where there is none."""

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
MSGPACK = "application/vnd.msgpack"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to try, and the hotkey that should answer there."""

    endpoint: str
    hotkey: str


class Queued(Struct, frozen=True, kw_only=True):
    """An extrinsic that waits for a block, by its hash."""

    hash: bytes


class Tried(Struct, frozen=True, kw_only=True):
    """An endpoint that answers as it should."""

    endpoint: str


async def get_terms(request: Request) -> Response:
    """What the network is and where it stands."""
    return await told(service_of(request).terms)


async def get_neurons(request: Request) -> Response:
    """All neurons by uid."""
    return await told(service_of(request).neurons)


async def get_metagraph(request: Request) -> Response:
    """The neurons at the close of an epoch, or as they are now, as an Arrow stream where `Accept` names one."""
    table = await run_in_threadpool(service_of(request).reader.metagraph, whole(request, "epoch"))
    if ARROW in request.headers.get("accept", ""):
        return Response(await run_in_threadpool(_as_stream, table), media_type=ARROW)
    return await told(table.to_pylist)


def _as_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


async def get_blocks(request: Request) -> Response:
    """Blocks with each extrinsic's call, signer and receipt; the last twenty, at most a hundred at a time."""
    first, last = whole(request, "first"), whole(request, "last")
    return await told(service_of(request).reader.blocks, first, last)


async def get_key(request: Request) -> Response:
    """What a key has: free RAO, what is reserved of it, and the nonce of its next extrinsic."""
    public = decode_address(request.path_params["address"])
    return await told(service_of(request).holdings, public)


async def get_receipt(request: Request) -> Response:
    """What became of an extrinsic, looked for in the blocks after a height; null while no block holds it."""
    since = whole(request, "since") or 0
    return await told(service_of(request).receipt, hash_of(request, "hash"), since)


async def get_events(request: Request) -> Response:
    """A stream of the epochs as they close, each a record; `Last-Event-ID` goes before `after`."""
    service, after = service_of(request), whole(request, "after") or 0
    resumed = request.headers.get("last-event-id", "")
    if resumed.isascii() and resumed.isdigit() and len(resumed) <= 15:
        after = int(resumed)
    address = address_of(request)
    if not service.streams.has_room(address):
        raise HttpRefused("busy", "too many streams are open", 60.0)
    return StreamingResponse(_events(service, after, address), media_type=EVENTS, headers={"cache-control": "no-store"})


async def _events(service: Service, after: int, address: str) -> AsyncIterator[bytes]:
    beat_s = time.monotonic()
    with service.streams.holding(address):
        yield b": epochs of the network, as they close\n\n"
        while not service.stopping.is_set():
            for epoch, record in await run_in_threadpool(service.feed.after, after):
                yield b"id: %d\nevent: epoch\ndata: %s\n\n" % (epoch, record)
                after, beat_s = epoch, time.monotonic()
            if time.monotonic() - beat_s > BEAT_S:
                yield b": still here\n\n"
                beat_s = time.monotonic()
            await asyncio.sleep(POLL_S)


async def post_extrinsic(request: Request) -> Response:
    """Queue a signed extrinsic, in the ledger's canonical encoding."""
    service = service_of(request)
    body = await read_body(request, service.most_extrinsic_bytes)
    return answer(Queued(hash=await run_in_threadpool(service.send, body)), 202)


async def post_endpoint(request: Request) -> Response:
    """Ask an endpoint a small question, signed by the network, and see whether its hotkey answers."""
    service = service_of(request)
    wait_s = service.trials.take(address_of(request), 1, time.monotonic())
    if wait_s:
        raise HttpRefused("rate_limited", "an address has few endpoints tried a minute", wait_s)
    try:
        asked = msgspec.json.decode(await read_body(request, 4096), type=Endpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HttpRefused("bad_request", f"the body: {error}") from None
    await run_in_threadpool(service.try_endpoint, asked.endpoint, decode_address(asked.hotkey))
    return answer(Tried(endpoint=asked.endpoint))


async def post_upload(request: Request) -> Response:
    """Begin an upload, or go on with it: the body is the version's manifest. Reserves the price of a registration,
    unless the key is a neuron's.
    """
    service, signed = service_of(request), check_signed(request)
    service.check_payload(signed.key, body_length(request, MANIFEST_BYTES))
    body = await read_signed(request, signed, MANIFEST_BYTES)
    return answer(await run_in_threadpool(service.begin_upload, signed.key, body), 201)


async def get_upload(request: Request) -> Response:
    """Where an upload of the signer's stands: how much of each file is here, and what came of its check."""
    signed = check_signed(request)
    return answer(
        await run_in_threadpool(service_of(request).upload_standing, signed.key, hash_of(request, "manifest"))
    )


async def put_chunk(request: Request) -> Response:
    """Bytes of a file, which begin where those that are here end."""
    service, signed = service_of(request), check_signed(request)
    manifest_hash, name, offset = hash_of(request, "manifest"), request.path_params["file"], whole(request, "offset")
    if offset is None:
        raise HttpRefused("bad_request", "the query names no offset")
    length = body_length(request, CHUNK_BYTES)
    with await run_in_threadpool(service.expect_chunk, signed.key, manifest_hash, length):
        data = await read_signed(request, signed, CHUNK_BYTES)
        return await told(service.write_chunk, signed.key, manifest_hash, name, offset, data)


async def post_finish(request: Request) -> Response:
    """Have a complete upload checked, and put into the network's store if it passes; ask where it stands until then."""
    signed = check_signed(request)
    manifest_hash = hash_of(request, "manifest")
    return answer(await run_in_threadpool(service_of(request).finish_upload, signed.key, manifest_hash), 202)


async def get_alive(request: Request) -> Response:
    """The server's process answers. Nothing is looked at, and nobody is refused for asking often."""
    return answer(Alive(alive=True))


async def get_ready(request: Request) -> Response:
    """Whether the network is well: its ledger can be read, somebody drives it, and blocks become final. Status 503
    where one of them is not, with the same body.
    """
    health = await run_in_threadpool(service_of(request).health)
    return answer(health, 200 if health.ready else 503)


class Route(NamedTuple):
    """An address of the server, as it is routed and documented. `also`: another status with the same body."""

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    status: int
    answers: Any
    query: tuple[tuple[str, str], ...] = ()
    takes: Any = None
    takes_media: str = ""
    media: tuple[str, ...] = (JSON,)
    signed: bool = False
    also: int | None = None


PROBES = ("/healthz", "/readyz")
"""Addresses that a supervisor asks, however much others ask from where it is."""

_MANIFEST = "/uploads/{manifest}"
ROUTES = (
    Route("GET", "/healthz", get_alive, 200, Alive),
    Route("GET", "/readyz", get_ready, 200, Health, also=503),
    Route("GET", "/terms", get_terms, 200, Terms),
    Route("GET", "/neurons", get_neurons, 200, list[Registered]),
    Route(
        "GET",
        "/metagraph",
        get_metagraph,
        200,
        list[dict[str, Any]],
        (("epoch", "a closed epoch; without it: as it is now"),),
        media=(JSON, ARROW),
    ),
    Route(
        "GET",
        "/blocks",
        get_blocks,
        200,
        list[BlockRecord],
        (("first", "the lowest height"), ("last", "the highest height")),
    ),
    Route("GET", "/keys/{address}", get_key, 200, Holdings),
    Route("GET", "/receipts/{hash}", get_receipt, 200, Receipt | None, (("since", "a height: blocks after it count"),)),
    Route(
        "GET",
        "/events",
        get_events,
        200,
        EpochRecord,
        (("after", "an epoch: those after it are told"),),
        media=(EVENTS,),
    ),
    Route("POST", "/extrinsics", post_extrinsic, 202, Queued, takes=bytes, takes_media=MSGPACK),
    Route("POST", "/endpoints", post_endpoint, 200, Tried, takes=Endpoint, takes_media=JSON),
    Route("POST", "/uploads", post_upload, 201, Standing, takes=bytes, takes_media=MSGPACK, signed=True),
    Route("GET", _MANIFEST, get_upload, 200, Standing, signed=True),
    Route(
        "PUT",
        f"{_MANIFEST}/{{file}}",
        put_chunk,
        200,
        Standing,
        (("offset", "where the chunk begins in the file"),),
        bytes,
        BYTES,
        signed=True,
    ),
    Route("POST", f"{_MANIFEST}/finish", post_finish, 202, Standing, signed=True),
)


async def told(decide: Callable[..., Any], *arguments: Any) -> Response:
    """What a call says, as JSON, both made in a thread."""
    return await run_in_threadpool(lambda: answer(decide(*arguments)))


def answer(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(encode_json(document), status, media_type=JSON)

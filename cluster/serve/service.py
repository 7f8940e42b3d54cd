"""What the server does with a request, without HTTP: whom it lets in, and what it asks of the network's door.

Invariants: every method may be called from several threads, and takes bounded time but for the door's own; what costs
others something (a place in the queue, an upload) is bounded by key and in all; no secret is read here.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import NamedTuple

from cluster.config import Serve
from cluster.door import Holdings, Receipt, Registered, Terms
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.home_door import HomeDoor, read_settings
from cluster.lease import read_holder
from cluster.observe.health import Health, Heights, check_health, longest_epoch_s
from cluster.serve.checks import Checks
from cluster.serve.errors import HttpRefused
from cluster.serve.limits import Buckets, Streams
from cluster.serve.reading import Feed, Reader
from cluster.serve.signing import Gatekeeper
from cluster.serve.upload import CHUNK_BYTES, Standing
from cluster.serve.uploads import Uploads
from ledger.errors import LedgerError, Refusal
from ledger.extrinsics import Extrinsic, Register, check_signature, decode_extrinsic
from ledger.units import blake2b_256, format_tao
from models.manifest import decode_manifest

EXTRINSICS_PER_MINUTE = 60
"""Of one signer; a validator sends two an epoch."""

NONCES_AHEAD = 64
"""How far before its turn an extrinsic may come."""

TRIALS_PER_MINUTE = 6
TRIALS_AT_ONCE = 4
"""Endpoints tried for one address, and for all: each trial makes this machine call another."""

MOST_STREAMS = 64
STREAMS_PER_ADDRESS = 8

TERMS_S = 0.5
"""For how long terms are told without looking again: the ledger moves once in seconds."""

_REMEMBERED = 16_384


class _Known(NamedTuple):
    terms: Terms
    neurons: list[Registered]
    until_s: float


class Service:
    """The server of one home."""

    def __init__(self, door: HomeDoor, settings: Serve, home: Home) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._door = door
        self.reader = Reader(home)
        try:
            self._lock = _lock_uploads(home)
        except BaseException:
            self.reader.close()
            raise
        self.feed = Feed(home.epochs)
        self.gatekeeper = Gatekeeper(self.reader.genesis_hash)
        self.requests = Buckets(settings.requests_per_minute / 60, settings.requests_per_minute)
        self.trials = Buckets(TRIALS_PER_MINUTE / 60, TRIALS_PER_MINUTE)
        self._bytes = Buckets(
            settings.upload_mib_per_s * (1 << 20), max(settings.upload_mib_per_s * (1 << 20), CHUNK_BYTES)
        )
        self._signers = Buckets(EXTRINSICS_PER_MINUTE / 60, EXTRINSICS_PER_MINUTE)
        self.streams = Streams(MOST_STREAMS, STREAMS_PER_ADDRESS)
        self._trying = threading.BoundedSemaphore(TRIALS_AT_ONCE)
        self.uploads = Uploads(home.uploads, settings.uploads)
        self._checks = Checks(self.uploads, door.receive)
        self._known_lock = threading.Lock()
        self._known: _Known | None = None
        self._health_lock = threading.Lock()
        self._health: tuple[Health, float] | None = None
        self._heights = Heights()
        self._sent: OrderedDict[bytes, None] = OrderedDict()
        self._expected: OrderedDict[bytes, None] = OrderedDict()

    def close(self) -> None:
        """End the streams, begin no further check, and let another server serve this home."""
        self.stopping.set()
        self._checks.close()
        self.reader.close()
        os.close(self._lock)

    @property
    def most_extrinsic_bytes(self) -> int:
        """The longest extrinsic that the network takes."""
        return self.reader.genesis.parameters.max_extrinsic_bytes

    def terms(self) -> Terms:
        """What the network is and where it stands."""
        return self._look().terms

    def neurons(self) -> list[Registered]:
        """All neurons by uid."""
        return self._look().neurons

    def health(self) -> Health:
        """Whether the network is well, looked at twice a second at most."""
        with self._health_lock:
            if self._health is None or time.monotonic() > self._health[1]:
                self._health = self._check_health(), time.monotonic() + TERMS_S
            return self._health[0]

    def holdings(self, public: bytes) -> Holdings:
        """What a key has; its uploads reserve too."""
        held = self._door.holdings(public)
        reserved_rao = held.reserved_rao + self.uploads.reserved_rao(public)
        return Holdings(free_rao=held.free_rao, reserved_rao=reserved_rao, next_nonce=held.next_nonce)

    def receipt(self, extrinsic_hash: bytes, since_height: int) -> Receipt | None:
        """What became of an extrinsic in the blocks after a height; None while no block holds it."""
        return self._door.receipt(extrinsic_hash, since_height)

    def begin_upload(self, payer: bytes, body: bytes) -> Standing:
        """Begin an upload, or go on with it.

        Args:
            body: the encoded manifest.

        Raises:
            ModelRefused: it is none, or beyond the quotas. Refusal: `insufficient_balance`, `already_published`.
            HttpRefused: as `Uploads.begin`.
        """
        manifest = decode_manifest(body)
        self._door.check_unpublished(manifest.hash, payer)
        quotas = self.terms().quotas
        standing = self.uploads.begin(payer, manifest, quotas, lambda own_rao: self._reserve(payer, own_rao))
        if standing.state == "delivered" and manifest.hash not in self._door.store():
            self.uploads.forget(payer, manifest.hash)
            return self.uploads.begin(payer, manifest, quotas, lambda own_rao: self._reserve(payer, own_rao))
        return standing

    def expect_chunk(self, payer: bytes, manifest_hash: bytes, size_bytes: int) -> AbstractContextManager[None]:
        """Before a chunk's body is read: its place, to be held until it is written.

        Raises HttpRefused `no_upload`, or `rate_limited` where its key sends too much; `busy` on entering.
        """
        upload = self.uploads.find(payer, manifest_hash)
        self.check_payload(payer, size_bytes)
        return upload.expecting()

    def check_payload(self, key: bytes, size_bytes: int) -> None:
        """HttpRefused `rate_limited` where a key sends more a second than it may."""
        wait_s = self._bytes.take(key, size_bytes, time.monotonic())
        if wait_s:
            raise HttpRefused(
                "rate_limited", f"a key sends {self.settings.upload_mib_per_s:g} MiB a second here", wait_s
            )

    def write_chunk(self, payer: bytes, manifest_hash: bytes, name: str, offset: int, data: bytes) -> Standing:
        """Take a chunk. HttpRefused as `Upload.write`."""
        upload = self.uploads.find(payer, manifest_hash)
        with upload.lock:
            try:
                upload.write(name, offset, data, self.uploads.now_s())
            except OSError as error:
                raise HttpRefused("no_room", f"the chunk could not be written: {error.strerror}", 60.0) from None
            return upload.standing()

    def finish_upload(self, payer: bytes, manifest_hash: bytes) -> Standing:
        """Have a complete upload checked. HttpRefused `incomplete`, `no_upload`, `rate_limited`."""
        upload = self.uploads.find(payer, manifest_hash)
        self._checks.check_share(payer)
        with upload.lock:
            if upload.begin_check(self.uploads.now_s()):
                self._checks.put(upload)
            return upload.standing()

    def upload_standing(self, payer: bytes, manifest_hash: bytes) -> Standing:
        """Where an upload stands. HttpRefused `no_upload`."""
        upload = self.uploads.find(payer, manifest_hash)
        with upload.lock:
            return upload.standing()

    def send(self, body: bytes) -> bytes:
        """Queue a signed extrinsic, and return its hash. What was queued before is queued once.

        Raises:
            Refusal: it is none, or its nonce is not among the signer's next. HttpRefused: `no_account`, or
                `rate_limited` where the signer sends too many.
        """
        extrinsic_hash = blake2b_256(body)
        if extrinsic_hash in self._sent:
            return extrinsic_hash
        extrinsic = decode_extrinsic(body, max_bytes=self.most_extrinsic_bytes)
        check_signature(extrinsic, self.reader.genesis_hash)
        self._check_signer(extrinsic)
        self._door.send(body)
        _remember(self._sent, extrinsic_hash)
        if isinstance(extrinsic.call, Register):
            _remember(self._expected, extrinsic.call.hotkey)
        return extrinsic_hash

    def try_endpoint(self, endpoint: str, hotkey: bytes) -> None:
        """Ask an endpoint a small question. EndpointRefused, or HttpRefused `busy`."""
        if not self._trying.acquire(blocking=False):
            raise HttpRefused("busy", f"{TRIALS_AT_ONCE} endpoints are tried at once", 5.0)
        try:
            self._door.try_endpoint(endpoint, hotkey)
        finally:
            self._trying.release()

    def _look(self) -> _Known:
        with self._known_lock:
            if self._known is None or time.monotonic() > self._known.until_s:
                self._known = _Known(self._door.terms(), self._door.neurons(), time.monotonic() + TERMS_S)
            return self._known

    def _check_health(self) -> Health:
        height, why = None, ""
        try:
            height = self.reader.final_height()
        except (LedgerError, OSError, sqlite3.Error) as error:
            why = f"the ledger cannot be read: {error}"
        network = read_settings(self._door.home)
        return check_health(
            height=height,
            why=why,
            holder=read_holder(self._door.home.lease),
            age_s=0.0 if height is None else self._heights.age_s(height),
            longest_s=None if network is None else longest_epoch_s(network),
        )

    def _is_neuron(self, public: bytes) -> bool:
        return any(public in (neuron.hotkey, neuron.coldkey) for neuron in self.neurons())

    def _reserve(self, payer: bytes, own_rao: int) -> int:
        """What an upload reserves beside `own_rao`, which the payer's other uploads do: nothing of a neuron's keys."""
        if self._is_neuron(payer):
            return 0
        held, price_rao = self._door.holdings(payer), self.terms().price_rao
        free_rao = held.free_rao - held.reserved_rao - own_rao
        if free_rao < price_rao:
            raise Refusal(
                "insufficient_balance",
                f"an upload reserves the price of a registration, {format_tao(price_rao)} TAO; the key has "
                f"{format_tao(max(0, free_rao))} TAO that nothing reserves",
            )
        return price_rao

    def _check_signer(self, extrinsic: Extrinsic) -> None:
        held = self._door.holdings(extrinsic.signer)
        if not held.next_nonce <= extrinsic.nonce < held.next_nonce + NONCES_AHEAD:
            raise Refusal("bad_nonce", f"the signer's next nonce is {held.next_nonce}, this one is {extrinsic.nonce}")
        known = held.free_rao > 0 or held.next_nonce > 1 or extrinsic.signer in self._expected
        if not known and not self._is_neuron(extrinsic.signer):
            raise HttpRefused("no_account", "the signer has no TAO, and no registration names it")
        # Only now: nobody else could have signed this, so nobody fills another's bucket.
        wait_s = self._signers.take(extrinsic.signer, 1, time.monotonic())
        if wait_s:
            raise HttpRefused(
                "rate_limited", f"a signer sends {EXTRINSICS_PER_MINUTE} extrinsics a minute here", wait_s
            )


def _remember(memory: OrderedDict[bytes, None], mark: bytes) -> None:
    memory[mark] = None
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _lock_uploads(home: Home) -> int:
    """Hold the home's uploads: two servers would each reserve what the other does not know of."""
    home.uploads.mkdir(parents=True, exist_ok=True)
    lock = os.open(home.uploads / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ClusterError(f"another server serves {home.folder} already: stop it, or use it") from None
    return lock

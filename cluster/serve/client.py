"""The door to a network behind HTTP: what `cluster.door.Door` asks, as requests.

Invariants: every request has a deadline, however slowly it is answered, and every answer a bound; no redirect is
followed; an upload goes on where it was cut off; what is asked twice after a failure does no more than asked once.
"""

import queue
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from msgspec import Struct

from cluster.door import Holdings, Receipt, Registered, Terms
from cluster.errors import ClusterError
from cluster.serve.errors import HttpRefused, Problem, error_of
from cluster.serve.signing import sign_request
from cluster.serve.upload import Standing
from cluster.serve.wire import encode_json, read_struct
from ledger.keys import Keypair, encode_address
from ledger.units import blake2b_256
from models.intake.check import Checked
from models.intake.listing import check_listing
from models.manifest import Manifest, encode_manifest, manifest_folder

CONNECT_S = 10.0
READ_S = 30.0
REQUEST_S = 180.0
"""For a connection, between two bytes of an answer, and for a request as a whole."""

ANSWER_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20
"""Of an upload's file in one request: a home's uplink of 1 MiB a second takes four seconds."""

PATIENCE_S = 120.0
"""For how long a server is asked again that is busy or, having answered before, away."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


T = TypeVar("T", bound=Struct)


class _Asked(NamedTuple):
    method: str
    target: str
    body: bytes = b""
    key: Keypair | None = None


class UrlDoor:
    """`cluster.door.Door` of a network by its URL, such as http://127.0.0.1:8642."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ClusterError(f"{url!r} is no network's address: expected http://host:port or https://host")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._session = requests.Session()
        self._genesis = b""

    def terms(self) -> Terms:
        """What the network is and where it stands."""
        terms = _read(Terms, self._ask("GET", "/terms"))
        self._genesis = terms.genesis
        return terms

    def holdings(self, public: bytes) -> Holdings:
        """What a key has."""
        return _read(Holdings, self._ask("GET", f"/keys/{encode_address(public)}"))

    def neurons(self) -> list[Registered]:
        """All neurons by uid."""
        return [_read(Registered, neuron) for neuron in self._ask("GET", "/neurons")]

    def deliver(self, folder: Path, payer: Keypair, progress: Callable[[int, int], None]) -> Checked:
        """Upload a model folder, go on where an earlier call was cut off, and wait for the network's check.

        Raises:
            ModelRefused: with the code of what is wrong. Refusal: the key cannot pay, or the version is another's.
            HttpRefused: the server takes no more now. ClusterError: the network could not be reached.
        """
        terms = self.terms()
        check_listing(folder, terms.quotas)
        manifest = manifest_folder(folder)
        standing = self._standing("POST", "/uploads", encode_manifest(manifest), payer)
        if standing.state == "receiving":
            standing = self._upload(folder, manifest, payer, standing, progress)
        progress(manifest.size_bytes, manifest.size_bytes)
        deadline = time.monotonic() + PATIENCE_S + 4 * terms.quotas.trial_s + manifest.size_bytes / (32 << 20)
        return self._wait(standing, f"/uploads/{manifest.hash.hex()}", payer, deadline)

    def try_endpoint(self, endpoint: str, hotkey: bytes) -> None:
        """Have the network ask an endpoint a small question. Raises EndpointRefused."""
        body = encode_json({"endpoint": endpoint, "hotkey": encode_address(hotkey)})
        self._ask("POST", "/endpoints", body)

    def send(self, extrinsic: bytes) -> bytes:
        """Queue a signed extrinsic, and return its hash. Raises Refusal where it cannot be queued."""
        said = self._ask("POST", "/extrinsics", extrinsic)
        expected = blake2b_256(extrinsic)
        if not isinstance(said, dict) or said.get("hash") != expected.hex():
            raise ClusterError(f"{self.url} queued another extrinsic than it was sent")
        return expected

    def receipt(self, extrinsic_hash: bytes, since_height: int) -> Receipt | None:
        """What became of an extrinsic in the blocks after a height; None while no block holds it."""
        found = self._ask("GET", f"/receipts/{extrinsic_hash.hex()}?since={since_height}")
        return None if found is None else _read(Receipt, found)

    def _upload(
        self, folder: Path, manifest: Manifest, payer: Keypair, standing: Standing, progress: Callable[[int, int], None]
    ) -> Standing:
        """Send what is missing of every file, each chunk where the server's copy ends."""
        place = f"/uploads/{manifest.hash.hex()}"
        for file in manifest.files:
            with (folder / file.path).open("rb") as source:
                while (offset := standing.offsets.get(file.path, 0)) < file.size_bytes:
                    progress(sum(standing.offsets.values()), manifest.size_bytes)
                    source.seek(offset)
                    chunk = source.read(min(CHUNK_BYTES, file.size_bytes - offset))
                    if not chunk:
                        raise ClusterError(f"{folder / file.path} became shorter while it was sent: submit it again")
                    target = f"{place}/{quote(file.path, safe='')}?offset={offset}"
                    try:
                        standing = self._standing("PUT", target, chunk, payer)
                    except HttpRefused as error:
                        if error.code != "wrong_offset":
                            raise
                        standing = self._standing("GET", place, b"", payer)
        return self._standing("POST", f"{place}/finish", b"", payer)

    def _wait(self, standing: Standing, place: str, payer: Keypair, deadline: float) -> Checked:
        pause_s = FIRST_PAUSE_S
        while standing.delivered is None:
            if standing.problem is not None:
                raise error_of(standing.problem)
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.url} still checks the version: submit it again later to hear how it went")
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 1.5 * pause_s)
            # A server that started again meanwhile has what it was sent, but not that it was to check it.
            again = standing.state == "receiving"
            standing = self._standing(*(("POST", f"{place}/finish") if again else ("GET", place)), b"", payer)
        return standing.delivered

    def _standing(self, method: str, target: str, body: bytes, key: Keypair) -> Standing:
        return _read(Standing, self._ask(method, target, body, key))

    def _ask(self, method: str, target: str, body: bytes = b"", key: Keypair | None = None) -> Any:
        """The answer's document. A server that is away or busy is asked again for a while.

        Raises what the network refused with, or ClusterError where it could not be reached.
        """
        until, pause_s = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S
        while True:
            try:
                return self._ask_in_time(_Asked(method, target, body, key))
            except requests.RequestException as error:
                failure: Exception = ClusterError(f"{self.url} could not be reached: {error}")
                patient = bool(self._genesis)
            except HttpRefused as error:
                failure, pause_s = error, max(pause_s, error.wait_s or 0.0)
                patient = error.code in ("rate_limited", "busy", "too_many_uploads")
            if not patient or time.monotonic() + pause_s > until:
                raise failure
            time.sleep(pause_s * random.uniform(1.0, 1.2))
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _ask_in_time(self, asked: _Asked) -> Any:
        """`_ask_once`, for no longer than a request may take: a server may keep an HTTP client busy for ever."""
        if asked.key is not None and not self._genesis:
            self.terms()
        ended: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                ended.put((self._ask_once(asked), None))
            except Exception as error:  # raised again below
                ended.put((None, error))

        threading.Thread(target=work, name="request", daemon=True).start()
        try:
            document, error = ended.get(timeout=REQUEST_S)
        except queue.Empty:
            self._session = requests.Session()
            raise ClusterError(f"{self.url} did not answer within {REQUEST_S:.0f} s") from None
        if error is not None:
            raise error
        return document

    def _ask_once(self, asked: _Asked) -> Any:
        request = requests.Request(asked.method, self.url + asked.target, data=asked.body or None)
        prepared = self._session.prepare_request(request)
        if asked.key is not None:
            prepared.headers.update(sign_request(asked.key, self._genesis, asked.method, prepared.path_url, asked.body))
        deadline = time.monotonic() + REQUEST_S
        settings = self._session.merge_environment_settings(self.url, {}, True, None, None)
        with self._session.send(prepared, timeout=(CONNECT_S, READ_S), allow_redirects=False, **settings) as response:
            document = _decode(_read_answer(response, deadline), self.url)
            if response.status_code >= 300:
                raise _refused(response, document, self.url)
            return document


def _read_answer(response: requests.Response, deadline: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(1 << 16):
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise ClusterError(f"{response.url} answers more than {ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise ClusterError(f"{response.url} did not answer within {REQUEST_S:.0f} s")
    return bytes(body)


def _decode(body: bytes, url: str) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ClusterError(f"{url} answers something that is no network's: check the address") from None


def _refused(response: requests.Response, document: Any, url: str) -> Exception:
    try:
        problem = read_struct(Problem, document)
    except ValueError:
        return ClusterError(f"{url} answers with status {response.status_code}, as no network does: check the address")
    wait = response.headers.get("retry-after", "")
    return error_of(problem, float(wait) if wait.isdigit() else None)


def _read(kind: type[T], document: Any) -> T:
    try:
        return read_struct(kind, document)
    except ValueError as error:
        raise ClusterError(f"the network's answer is not {kind.__name__} as this version knows it: {error}") from None

"""The client against the server: the same answers and the same errors as at the door of the home itself."""

import contextlib
import http.server
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from actors.errors import EndpointRefused
from cluster.config import Serve, load_network
from cluster.door import Door
from cluster.errors import ClusterError
from cluster.founding import found
from cluster.home import Home
from cluster.home_door import HomeDoor
from cluster.serve import client as module
from cluster.serve.client import UrlDoor
from cluster.serve.errors import HttpRefused, error_of, problem_of
from cluster.serve.server import serving
from ledger.errors import InvalidKey, Refusal, StoreError
from ledger.extrinsics import Transfer, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from models.errors import ModelRefused
from models.manifest import encode_manifest, manifest_folder
from models.store import Store
from tests.models.intake.architectures import make


@pytest.fixture
def door(url: str) -> UrlDoor:
    return UrlDoor(url)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in many chunks."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 2500)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A tiny model that passes every check."""
    return make("llama", tmp_path / "llama")


def test_it_has_every_method_of_a_door() -> None:
    for name, method in inspect.getmembers(Door, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(UrlDoor, name)) == inspect.signature(method)


def test_it_reads_what_the_home_reads(door: UrlDoor, home: Path, ada: Keypair) -> None:
    at_home = HomeDoor(Home(home))
    assert door.terms() == at_home.terms()
    assert door.neurons() == at_home.neurons()
    assert door.holdings(ada.public) == at_home.holdings(ada.public)
    assert door.receipt(bytes(32), 0) is None


def test_it_queues_extrinsics(door: UrlDoor, genesis: bytes, ada: Keypair) -> None:
    call = Transfer(to=bytes(32), amount_rao=5)
    signed = sign_extrinsic(call, ada, genesis_hash=genesis, nonce=1, valid_until=300)
    assert door.send(encode_extrinsic(signed)) == signed.hash
    assert door.holdings(ada.public).next_nonce == 2
    with pytest.raises(Refusal, match="undecodable"):
        door.send(b"junk")


def test_an_endpoint_is_tried_by_the_network(door: UrlDoor, vera: Keypair) -> None:
    with pytest.raises(EndpointRefused, match="panel"):
        door.try_endpoint("http://127.0.0.1:9", vera.public)


def test_an_endpoint_that_nobody_answers_at_is_refused(tiny_toml: Path, tmp_path: Path, vera: Keypair) -> None:
    place = Home(tmp_path / "next_byte")
    place.folder.mkdir()
    found(load_network(tiny_toml, ["query.panel=next_byte", "query.windows=512"]), place)
    with serving(place, Serve()) as url:
        door = UrlDoor(url)
        with pytest.raises(EndpointRefused) as refused:
            door.try_endpoint("http://127.0.0.1:9", vera.public)
        assert refused.value.code == "private_address"


@pytest.mark.parametrize(
    "error",
    [
        Refusal("no_slot", "there is none"),
        ModelRefused("pickle", "it is one"),
        EndpointRefused("redirect", "it leads away"),
        HttpRefused("busy", "later"),
        InvalidKey("it is none"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_as_they_are(error: Exception) -> None:
    again = error_of(problem_of(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("error", [StoreError("no block"), ClusterError("no network")], ids=["store", "cluster"])
def test_others_say_the_same(error: Exception) -> None:
    again = error_of(problem_of(error))
    assert isinstance(again, ClusterError)
    assert str(error) in str(again)


@pytest.mark.usefixtures("small_chunks")
def test_a_model_is_delivered_and_again_where_the_store_lost_it(
    door: UrlDoor, home: Path, ada: Keypair, llama: Path, ask: Callable[..., requests.Response]
) -> None:
    heard: list[tuple[int, int]] = []
    delivered = door.deliver(llama, ada, lambda done, of: heard.append((done, of)))
    manifest = manifest_folder(llama)
    assert (delivered.manifest, delivered.model_type, delivered.kind) == (manifest.hash, "llama", "hosted")
    assert manifest.hash in Store(home / "store")
    assert heard == sorted(heard)
    assert heard[-1] == (manifest.size_bytes, manifest.size_bytes)
    assert len(heard) > 3
    assert door.holdings(ada.public).reserved_rao == 0
    assert door.deliver(llama, ada, lambda done, of: None) == delivered
    Store(home / "store").collect([], 0.0)
    again = ask("POST", "/uploads", ada, encode_manifest(manifest)).json()
    assert (again["state"], set(again["offsets"].values())) == ("receiving", {0})


def test_a_refusal_comes_out_with_its_code(door: UrlDoor, home: Path, ada: Keypair, model: Path) -> None:
    with pytest.raises(ModelRefused):
        door.deliver(model, ada, lambda done, of: None)
    (model / "x.bin").write_bytes(b"")
    with pytest.raises(ModelRefused, match="pickle"):
        door.deliver(model, ada, lambda done, of: None)
    assert list(Store(home / "store").versions()) == []


def test_who_cannot_pay_is_refused(door: UrlDoor, model: Path) -> None:
    with pytest.raises(Refusal, match="insufficient_balance"):
        door.deliver(model, Keypair.from_seed(b"p" * 32), lambda done, of: None)


class Cut(Exception):
    """The submitter's machine goes down."""


@pytest.mark.usefixtures("small_chunks")
def test_it_goes_on_half_way_after_a_cut_and_another_server(home: Path, ada: Keypair, model: Path) -> None:
    """The model is refused once it is there: every file was compared with its hash before."""

    def cut(done: int, of: int) -> None:
        if 2 * done > of:
            raise Cut

    with serving(Home(home), Serve()) as url, pytest.raises(Cut):
        UrlDoor(url).deliver(model, ada, cut)
    heard: list[int] = []
    with serving(Home(home), Serve()) as url, pytest.raises(ModelRefused, match="vocabulary"):
        UrlDoor(url).deliver(model, ada, lambda done, of: heard.append(done))
    assert 2 * heard[0] > manifest_folder(model).size_bytes


@pytest.mark.usefixtures("small_chunks")
def test_it_waits_while_the_server_starts_again(home: Path, ada: Keypair, model: Path) -> None:
    """The server goes away in the midst of an upload, and comes back at the same address."""
    first = serving(Home(home), Serve())
    url = first.__enter__()
    again: list[Any] = []

    def restart(done: int, of: int) -> None:
        if not again and 2 * done > of:
            first.__exit__(None, None, None)
            again.append(serving(Home(home), Serve(port=int(url.rsplit(":", 1)[1]))))
            threading.Timer(0.5, again[0].__enter__).start()

    with pytest.raises(ModelRefused, match="vocabulary"):
        UrlDoor(url).deliver(model, ada, restart)
    again[0].__exit__(None, None, None)


@pytest.mark.parametrize("url", ["", "localhost", "ftp://x", "http://", "http://x/path", "http://x?y=1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="address"):
        UrlDoor(url)


def test_where_nobody_listens_one_error_says_so() -> None:
    with pytest.raises(ClusterError, match="could not be reached"):
        UrlDoor("http://127.0.0.1:9").terms()


@pytest.fixture
def other() -> Iterator[Callable[[int, dict[str, str], bytes], str]]:
    """A web server that is no network: its status, headers and body."""
    servers = []

    def start(status: int, headers: dict[str, str], body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (200, {}, b"<html>", "no network"),
        (200, {}, b"{}", "is not Terms"),
        (200, {}, b'{"genesis": "zz"}', "is not Terms"),
        (200, {}, b"[1]", "is not Terms"),
        (302, {"Location": "http://127.0.0.1:1/terms"}, b"{}", "status 302"),
        (500, {}, b'{"kind": 5}', "status 500"),
        (422, {}, b'{"kind": "Refusal", "code": "made_up", "sentence": "x"}', "made_up"),
    ],
)
def test_answers_that_are_no_networks_are_one_clear_error(
    other: Callable[..., str], status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    with pytest.raises(ClusterError, match=says):
        UrlDoor(other(status, headers, body)).terms()


def test_an_endless_answer_is_cut(other: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 1 << 20)
    with pytest.raises(ClusterError, match="more than 1 MiB"):
        UrlDoor(other(200, {}, bytes(2 << 20))).terms()


@pytest.mark.parametrize("dripped", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b"x"])
def test_a_server_that_drips_is_left(dripped: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read of an HTTP client succeeds, and no answer ever comes."""
    monkeypatch.setattr(module, "REQUEST_S", 0.5)
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.01):
                connection.sendall(dripped)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        with pytest.raises(ClusterError, match=r"did not answer within|could not be reached"):
            UrlDoor(f"http://127.0.0.1:{listening.getsockname()[1]}").terms()
        ended.set()

"""The server on loopback: what it tells, what it refuses, and who it cuts off."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import Serve
from cluster.errors import ClusterError, ConfigurationError
from cluster.home import Home
from cluster.report import EpochRecord, Seconds, append_epoch
from cluster.serve import server as module
from cluster.serve.errors import HTTP_REFUSALS
from cluster.serve.routes import ARROW, ROUTES
from cluster.serve.server import serving
from ledger.extrinsics import Call, Publish, Register, Transfer, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from ledger.store.metagraph import SCHEMA


def get(url: str, **options: Any) -> requests.Response:
    return requests.get(url, timeout=30, **options)


def code_of(response: requests.Response) -> str:
    assert set(response.json()) == {"kind", "code", "sentence"}
    assert response.json()["sentence"]
    return str(response.json()["code"])


def test_terms_neurons_keys_and_receipts(reading_url: str, ada: Keypair, vera: Keypair) -> None:
    terms = get(f"{reading_url}/terms").json()
    assert (terms["network"], terms["height"], terms["phase"], terms["running"]) == ("tiny", 0, "closed", False)
    assert len(bytes.fromhex(terms["genesis"])) == 32
    neurons = get(f"{reading_url}/neurons").json()
    assert [neuron["name"] for neuron in neurons] == ["vera", "victor", "viola"]
    assert neurons[0]["hotkey"] == vera.public.hex()
    held = get(f"{reading_url}/keys/{ada.address}").json()
    assert held == {"free_rao": 10_000_000_000, "reserved_rao": 0, "next_nonce": 1}
    assert get(f"{reading_url}/receipts/{'00' * 32}?since=0").json() is None


def test_the_metagraph_as_json_and_as_arrow(reading_url: str) -> None:
    rows = get(f"{reading_url}/metagraph").json()
    arrow = get(f"{reading_url}/metagraph", headers={"accept": ARROW})
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table.schema == SCHEMA
    assert table.to_pylist() == rows
    assert get(f"{reading_url}/metagraph?epoch=9").status_code == 404


def test_blocks_name_their_extrinsics(reading_url: str) -> None:
    (block,) = get(f"{reading_url}/blocks").json()
    assert (block["height"], block["kind"], block["extrinsics"]) == (0, "genesis", [])
    assert get(f"{reading_url}/blocks?first=0&last=99999").json() == [block]
    assert get(f"{reading_url}/blocks?first=5").json() == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/uploads", 405, "wrong_method"),
        ("POST", "/terms", 405, "wrong_method"),
        ("DELETE", "/blocks", 405, "wrong_method"),
        ("GET", "/blocks?first=x", 400, "bad_request"),
        ("GET", "/blocks?first=-1", 400, "bad_request"),
        ("GET", "/metagraph?epoch=99999999999999999999", 400, "bad_request"),
        ("GET", "/receipts/zz", 400, "bad_request"),
        ("GET", "/receipts/00", 400, "bad_request"),
        ("GET", "/keys/nobody", 400, ""),
        ("GET", "/events?after=-1", 400, "bad_request"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("POST", "/uploads", 401, "unsigned"),
        ("POST", "/endpoints", 400, "bad_request"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_json(
    reading_url: str, method: str, path: str, status: int, code: str
) -> None:
    response = requests.request(method, reading_url + path, timeout=30)
    assert (response.status_code, code_of(response)) == (status, code)


def test_openapi_names_every_route_and_what_it_carries(reading_url: str) -> None:
    document = get(f"{reading_url}/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    named = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert named == {(route.method, route.path) for route in ROUTES}
    schemas = document["components"]["schemas"]
    for reference in set(json.dumps(document).split('"$ref":"')[1:]):
        assert reference.split('"')[0].removeprefix("#/components/schemas/") in schemas
    terms = get(f"{reading_url}/terms").json()
    assert set(schemas["Terms"]["properties"]) == set(terms)
    assert schemas["Terms"]["properties"]["genesis"]["pattern"]
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert operation["responses"]["default"]
    signed = document["paths"]["/uploads/{manifest}/{file}"]["put"]["parameters"]
    assert {parameter["in"] for parameter in signed} == {"path", "query", "header"}
    for code in HTTP_REFUSALS:
        assert f"`{code}`" in document["paths"]["/terms"]["get"]["responses"]["default"]["description"]


def sign(call: Call, key: Keypair, genesis: bytes, nonce: int = 1) -> bytes:
    return encode_extrinsic(sign_extrinsic(call, key, genesis_hash=genesis, nonce=nonce, valid_until=300))


def post(url: str, body: bytes) -> requests.Response:
    return requests.post(f"{url}/extrinsics", data=body, timeout=30)


def test_signed_extrinsics_are_queued_once(url: str, genesis: bytes, ada: Keypair) -> None:
    body = sign(Transfer(to=bytes(32), amount_rao=5), ada, genesis)
    for _ in range(2):
        response = post(url, body)
        assert response.status_code == 202
    assert get(f"{url}/keys/{ada.address}").json()["next_nonce"] == 2
    assert get(f"{url}/receipts/{response.json()['hash']}").json() is None


def test_junk_and_forged_extrinsics_are_refused(url: str, genesis: bytes, ada: Keypair) -> None:
    good = sign(Transfer(to=bytes(32), amount_rao=5), ada, genesis)
    tampered = good.replace(b"\x05", b"\x06", 1)
    cases = {
        b"": "undecodable",
        b"junk": "undecodable",
        bytes(1000): "undecodable",
        good + b"\x00": "undecodable",
        tampered: "bad_signature",
        sign(Transfer(to=bytes(32), amount_rao=5), ada, bytes(32)): "bad_signature",
        sign(Transfer(to=bytes(32), amount_rao=5), ada, genesis, nonce=0): "bad_nonce",
        sign(Transfer(to=bytes(32), amount_rao=5), ada, genesis, nonce=1000): "bad_nonce",
        sign(Transfer(to=bytes(32), amount_rao=5), Keypair.from_seed(b"x" * 32), genesis): "no_account",
    }
    for body, code in cases.items():
        assert code_of(post(url, body)) == code
    assert get(f"{url}/keys/{ada.address}").json()["next_nonce"] == 1


def test_a_new_hotkey_may_publish_once_its_registration_waits(url: str, genesis: bytes, ada: Keypair) -> None:
    hotkey = Keypair.from_seed(b"h" * 32)
    publish = sign(Publish(manifest=bytes([1] * 32)), hotkey, genesis)
    assert code_of(post(url, publish)) == "no_account"
    register = Register(hotkey=hotkey.public, name="new", max_price_rao=10**10)
    assert post(url, sign(register, ada, genesis)).status_code == 202
    assert post(url, publish).status_code == 202
    assert get(f"{url}/keys/{ada.address}").json()["reserved_rao"] > 0


def test_a_signer_sends_so_many_a_minute_and_no_more(
    url: str, genesis: bytes, ada: Keypair, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = []
    for nonce in range(1, 70):
        response = post(url, sign(Transfer(to=bytes(32), amount_rao=nonce), ada, genesis, nonce=nonce))
        codes.append(response.status_code)
    assert codes[:60] == [202] * 60
    assert 429 in codes
    assert int(response.headers["retry-after"]) >= 1


def test_bodies_are_bounded(reading_url: str) -> None:
    assert code_of(post(reading_url, bytes(3 << 20))) == "body_too_large"
    endless = requests.post(f"{reading_url}/extrinsics", data=(bytes(1 << 16) for _ in range(64)), timeout=30)
    assert code_of(endless) == "body_too_large"


def test_an_address_asks_so_often_and_no_more(home: Path) -> None:
    with serving(Home(home), Serve(requests_per_minute=5)) as url:
        answers = [get(f"{url}/terms") for _ in range(7)]
    assert [answer.status_code for answer in answers][:5] == [200] * 5
    assert code_of(answers[-1]) == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) >= 1


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
    monkeypatch.setattr("cluster.serve.routes.BODY_S", 0.3)
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
    assert get(f"{reading_url}/terms").status_code == 200


def test_others_are_answered_while_some_are_slow(hasty: tuple[str, int]) -> None:
    slow = [socket.create_connection(hasty) for _ in range(40)]
    try:
        for connection in slow:
            connection.sendall(b"GET /terms HTTP/1.1\r\n")
        assert get(f"http://{hasty[0]}:{hasty[1]}/terms").status_code == 200
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


def record(epoch: int) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        height=3 * epoch,
        block_hash="00",
        collective_bits_per_byte=2.0,
        best_peer_bits_per_byte=None,
        baseline_bits_per_byte=5.0,
        new_bits=0.1,
        minted_rao=1,
        to_stake=False,
        final=True,
        seconds=Seconds(query=1, value=1, train=1, close=1),
        neurons=(),
    )


def epochs_of(stream: requests.Response) -> Iterator[int]:
    """The epochs of the events, as they come. Dropped, it closes the stream."""
    for line in stream.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            yield json.loads(line[6:])["epoch"]


def test_epochs_are_streamed_as_they_close(url: str, home: Path) -> None:
    for epoch in (1, 2, 3):
        append_epoch(home / "epochs.jsonl", record(epoch))
    with get(f"{url}/events?after=1", stream=True) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        epochs = epochs_of(stream)
        assert [next(epochs), next(epochs)] == [2, 3]
        append_epoch(home / "epochs.jsonl", record(4))
        assert next(epochs) == 4
    with get(f"{url}/events", headers={"Last-Event-ID": "3"}, stream=True) as stream:
        assert next(epochs_of(stream)) == 4


def test_an_epoch_that_a_crash_cut_off_is_passed_over(url: str, home: Path) -> None:
    append_epoch(home / "epochs.jsonl", record(1))
    whole = (home / "epochs.jsonl").read_bytes()
    (home / "epochs.jsonl").write_bytes(whole + whole[: len(whole) // 2])
    with get(f"{url}/events", stream=True) as stream:
        epochs = epochs_of(stream)
        assert next(epochs) == 1
        append_epoch(home / "epochs.jsonl", record(2))
        assert next(epochs) == 2


def test_streams_are_bounded_by_address(reading_url: str) -> None:
    streams = [get(f"{reading_url}/events", stream=True) for _ in range(8)]
    heard = [stream.iter_content(1) for stream in streams]
    assert {next(bytes_) for bytes_ in heard} == {b":"}
    assert code_of(get(f"{reading_url}/events")) == "busy"
    for stream in streams:
        stream.close()


def test_one_server_a_home_and_one_a_port(home: Path, url: str) -> None:
    with pytest.raises(ClusterError, match="another server serves"), serving(Home(home), Serve()):
        pass
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match=r"serve\.port"), serving(Home(home), Serve(port=port)):
        pass


def test_a_home_without_a_network_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="there is no"), serving(Home(tmp_path), Serve()):
        pass

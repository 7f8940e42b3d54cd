"""The server on loopback: what it tells, what it refuses, and who it cuts off."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests

import taoray
from cluster.config import OPERATOR, Serve
from cluster.errors import ClusterError, ConfigurationError
from cluster.home import Home
from cluster.lease import hold_lease
from cluster.serve.errors import HTTP_REFUSALS
from cluster.serve.routes import ARROW, ROUTES
from cluster.serve.server import serving
from ledger.extrinsics import Call, Publish, Register, Transfer, encode_extrinsic, sign_extrinsic
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.metagraph import SCHEMA
from ledger.wallet import Wallet


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


def test_probes_say_what_is_not_well(url: str, home: Path) -> None:
    assert get(f"{url}/healthz").json() == {"alive": True}
    answered = get(f"{url}/readyz")
    seen = {check["name"]: check["ok"] for check in answered.json()["checks"]}
    assert (answered.status_code, answered.json()["ready"]) == (503, False)
    assert seen == {"ledger": True, "driver": False, "progress": True}


def test_a_network_that_is_driven_is_ready(home: Path) -> None:
    with hold_lease(Home(home).lease), serving(Home(home), Serve()) as url:
        assert get(f"{url}/readyz").status_code == 200


def test_probes_count_against_no_limit(home: Path) -> None:
    with serving(Home(home), Serve(requests_per_minute=1)) as url:
        assert [get(f"{url}/healthz").status_code for _ in range(5)] == [200] * 5
        assert [get(f"{url}/terms").status_code for _ in range(2)] == [200, 429]
        assert get(f"{url}/readyz").status_code == 503


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


def test_what_a_block_took_is_told_with_its_receipt(url: str, home: Path, genesis: bytes, ada: Keypair) -> None:
    applied = sign(Transfer(to=bytes(32), amount_rao=10**6), ada, genesis)
    refused = sign(Transfer(to=bytes(32), amount_rao=10**15), ada, genesis, nonce=2)
    hashes = [post(url, body).json()["hash"] for body in (applied, refused)]
    keeper = Wallet.open(home / "wallets", OPERATOR).hotkey()
    with Chain.open(home / "ledger" / "chain.db", write=True) as chain:
        chain.build("open", [applied, refused], term=0, keypair=keeper)
    receipt = get(f"{url}/receipts/{hashes[0]}?since=0").json()
    assert receipt == {"height": 1, "epoch": 1, "code": "ok", "final": False}
    assert get(f"{url}/receipts/{hashes[0]}?since=1").json() is None
    assert get(f"{url}/receipts/{hashes[1]}").json()["code"] == "insufficient_balance"
    (block,) = get(f"{url}/blocks?first=1").json()
    assert (block["kind"], block["keeper"]) == ("open", keeper.address)
    assert block["extrinsics"] == [
        {"hash": hash_, "call": "transfer", "signer": ada.address, "nonce": nonce, "code": code}
        for hash_, nonce, code in zip(hashes, (1, 2), ("ok", "insufficient_balance"), strict=True)
    ]
    assert get(f"{url}/terms").json()["phase"] == "open"


def test_it_serves_over_ipv6_and_as_a_function(home: Path) -> None:
    with taoray.serving(home, host="::1", port=0) as url:
        assert url.startswith("http://[::1]:")
        assert get(f"{url}/terms").json()["network"] == "tiny"


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


def test_endpoints_are_tried_so_often_and_no_more(url: str, ada: Keypair) -> None:
    asked = {"endpoint": "http://127.0.0.1:9", "hotkey": ada.address}
    codes = [code_of(requests.post(f"{url}/endpoints", json=asked, timeout=30)) for _ in range(8)]
    assert codes[:6] == ["panel"] * 6
    assert "rate_limited" in codes
    for body in (b"", b"{}", b"[]", b'{"endpoint": 5, "hotkey": ""}', b"\xff"):
        assert code_of(requests.post(f"{url}/endpoints", data=body, timeout=30)) in ("bad_request", "rate_limited")


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


def test_one_server_a_home_and_one_a_port(home: Path, url: str) -> None:
    with pytest.raises(ClusterError, match="another server serves"), serving(Home(home), Serve()):
        pass
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match=r"serve\.port"), serving(Home(home), Serve(port=port)):
        pass


def test_a_home_without_a_network_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no"), serving(Home(tmp_path), Serve()):
        pass
    assert not list(tmp_path.iterdir())

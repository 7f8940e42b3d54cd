"""Uploads over HTTP: who may, what is taken, and how they go on after a cut."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from cluster.config import Serve
from cluster.home import Home
from cluster.serve.server import serving
from cluster.serve.signing import BODY, SIGNATURE, now_ms, sign_request
from cluster.serve.upload import CHUNK_BYTES
from ledger.keys import Keypair
from models.manifest import Manifest, ManifestFile, encode_manifest, manifest_folder

Ask = Callable[..., requests.Response]
PRICE_RAO = 1_000_000_000


def code_of(response: requests.Response) -> str:
    return str(response.json()["code"])


def begin(ask: Ask, manifest: Manifest, key: Keypair) -> requests.Response:
    return ask("POST", "/uploads", key, encode_manifest(manifest))


def place_of(manifest: Manifest) -> str:
    return f"/uploads/{manifest.hash.hex()}"


def reserved_rao(url: str, key: Keypair) -> int:
    return int(requests.get(f"{url}/keys/{key.address}", timeout=30).json()["reserved_rao"])


def test_an_upload_reserves_the_price_of_a_registration(
    url: str, ask: Ask, ada: Keypair, manifest: Manifest, home: Path
) -> None:
    answer = begin(ask, manifest, ada)
    assert answer.status_code == 201
    assert answer.json()["state"] == "receiving"
    assert answer.json()["offsets"] == {"README": 0, "config.json": 0, "model.safetensors": 0}
    assert reserved_rao(url, ada) == PRICE_RAO
    begin(ask, manifest, ada)
    assert reserved_rao(url, ada) == PRICE_RAO


def test_who_cannot_pay_uploads_nothing(url: str, ask: Ask, manifest: Manifest, home: Path) -> None:
    poor = Keypair.from_seed(b"p" * 32)
    answer = begin(ask, manifest, poor)
    assert (answer.status_code, code_of(answer)) == (422, "insufficient_balance")
    assert code_of(ask("GET", place_of(manifest), poor)) == "no_upload"
    assert not list((home / "uploads").glob("*/*"))


def test_a_neurons_hotkey_reserves_nothing(url: str, ask: Ask, vera: Keypair, manifest: Manifest) -> None:
    assert begin(ask, manifest, vera).status_code == 201
    assert reserved_rao(url, vera) == 0


def test_every_request_of_an_upload_is_signed(url: str, ask: Ask, ada: Keypair, manifest: Manifest) -> None:
    begin(ask, manifest, ada)
    place = url + place_of(manifest)
    for method, address in (("GET", place), ("PUT", f"{place}/config.json?offset=0"), ("POST", f"{place}/finish")):
        answer = requests.request(method, address, data=b"x", timeout=30)
        assert (answer.status_code, code_of(answer)) == (401, "unsigned")


def test_altered_stale_replayed_and_foreign_requests_are_refused(
    url: str, ask: Ask, genesis: bytes, ada: Keypair, grace: Keypair, manifest: Manifest
) -> None:
    begin(ask, manifest, ada)
    target, body = f"{place_of(manifest)}/config.json?offset=0", b'{"model'

    def put(headers: dict[str, str], to: str = target, data: bytes = body) -> str:
        return code_of(requests.put(url + to, data=data, headers=headers, timeout=30))

    def signed(genesis_hash: bytes = genesis, time_ms: int | None = None) -> dict[str, str]:
        return sign_request(ada, genesis_hash, "PUT", target, body, time_ms=time_ms)

    assert put(signed(), data=b'{"other') == "body_changed"
    assert put(signed() | {BODY: "00" * 32}) == "wrong_signature"
    assert put(signed() | {SIGNATURE: "00" * 64}) == "wrong_signature"
    assert put(signed(), to=target.replace("=0", "=1")) == "wrong_signature"
    assert put(signed(genesis_hash=bytes(32))) == "wrong_signature"
    assert put(signed(time_ms=now_ms() - 61_000)) == "stale"
    assert put(signed(time_ms=now_ms() + 65_000)) == "stale"
    assert put(sign_request(grace, genesis, "PUT", target, body)) == "no_upload"
    assert ask("GET", place_of(manifest), ada).json()["offsets"]["config.json"] == 0
    headers = signed()
    assert requests.put(url + target, data=body, headers=headers, timeout=30).status_code == 200
    assert put(headers) == "replayed"
    assert ask("GET", place_of(manifest), ada).json()["offsets"]["config.json"] == len(body)


@pytest.mark.parametrize("body", [b"", b"junk", bytes(2000)])
def test_what_is_no_manifest_begins_nothing(ask: Ask, ada: Keypair, body: bytes) -> None:
    assert code_of(ask("POST", "/uploads", ada, body)) == "manifest"


@pytest.mark.parametrize(
    ("name", "code"), [("../x", "name"), ("a/b", "name"), ("x.bin", "pickle"), ("x.py", "code"), (".x", "name")]
)
def test_names_of_files_are_checked_before_anything_is_sent(ask: Ask, ada: Keypair, name: str, code: str) -> None:
    manifest = Manifest((ManifestFile(name, bytes(32), 1),))
    assert code_of(begin(ask, manifest, ada)) == code


def test_quotas_are_checked_before_anything_is_sent(ask: Ask, ada: Keypair) -> None:
    many = Manifest(tuple(ManifestFile(f"{i:04d}.json", bytes(32), 1) for i in range(65)))
    assert code_of(begin(ask, many, ada)) == "files"
    assert code_of(begin(ask, Manifest((ManifestFile("x.safetensors", bytes(32), 1 << 50),)), ada)) == "size"


def test_chunks_are_bounded_and_end_at_their_files(ask: Ask, ada: Keypair, model: Path, manifest: Manifest) -> None:
    begin(ask, manifest, ada)
    place = place_of(manifest)
    assert code_of(ask("PUT", f"{place}/config.json?offset=0", ada, bytes(CHUNK_BYTES + 1))) == "body_too_large"
    assert code_of(ask("PUT", f"{place}/config.json?offset=0", ada, bytes(1000))) == "wrong_offset"
    assert code_of(ask("PUT", f"{place}/config.json?offset=5", ada, b"x")) == "wrong_offset"
    assert code_of(ask("PUT", f"{place}/config.json", ada, b"x")) == "bad_request"
    assert code_of(ask("PUT", f"{place}/other.json?offset=0", ada, b"x")) == "not_found"
    assert code_of(ask("POST", f"{place}/finish", ada)) == "incomplete"


def send_all(ask: Ask, key: Keypair, model: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        if file.size_bytes:
            target = f"{place_of(manifest)}/{file.path}?offset=0"
            assert ask("PUT", target, key, (model / file.path).read_bytes()).status_code == 200


def ended(ask: Ask, key: Keypair, manifest: Manifest) -> dict[str, object]:
    """Where an upload stands once its check is over."""
    while True:
        standing: dict[str, object] = ask("GET", place_of(manifest), key).json()
        if standing["state"] != "checking":
            return standing


def test_a_file_that_differs_from_its_hash_is_taken_away(
    ask: Ask, ada: Keypair, model: Path, manifest: Manifest, home: Path
) -> None:
    begin(ask, manifest, ada)
    send_all(ask, ada, model, manifest)
    weights = next((home / "uploads").glob("*/*/files/model.safetensors"))
    weights.write_bytes(bytes(weights.stat().st_size))
    assert ask("POST", f"{place_of(manifest)}/finish", ada).status_code == 202
    standing = ended(ask, ada, manifest)
    assert standing["state"] == "receiving"
    assert standing["problem"]["code"] == "hash_mismatch"  # type: ignore[index]
    assert standing["offsets"] == {"README": 0, "config.json": 23, "model.safetensors": 0}


def test_a_refused_upload_leaves_nothing_but_its_reason(
    url: str, ask: Ask, ada: Keypair, model: Path, manifest: Manifest, home: Path
) -> None:
    begin(ask, manifest, ada)
    send_all(ask, ada, model, manifest)
    ask("POST", f"{place_of(manifest)}/finish", ada)
    standing = ended(ask, ada, manifest)
    assert standing["state"] == "refused"
    assert standing["problem"]["kind"] == "ModelRefused"  # type: ignore[index]
    assert str(home) not in str(standing)
    assert reserved_rao(url, ada) == 0
    assert {path.name for path in (home / "uploads").glob("*/*/*")} == {"record", "outcome"}
    assert not list((home / "store").glob("*/*/*"))
    assert begin(ask, manifest, ada).json()["state"] == "receiving"


def test_a_folder_without_weights_is_refused_without_naming_the_servers(
    ask: Ask, ada: Keypair, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    manifest = manifest_folder(tmp_path / "bare")
    begin(ask, manifest, ada)
    send_all(ask, ada, tmp_path / "bare", manifest)
    ask("POST", f"{place_of(manifest)}/finish", ada)
    problem = ended(ask, ada, manifest)["problem"]
    assert problem["code"] == "no_weights"  # type: ignore[index]
    assert str(home) not in str(problem)


def test_two_who_send_one_version_at_once_write_it_once(
    ask: Ask, ada: Keypair, model: Path, manifest: Manifest, home: Path
) -> None:
    begin(ask, manifest, ada)
    weights = (model / "model.safetensors").read_bytes()
    step = 512

    def sender(_: int) -> list[int]:
        sent = []
        while True:
            offset = ask("GET", place_of(manifest), ada).json()["offsets"]["model.safetensors"]
            if offset == len(weights):
                return sent
            target = f"{place_of(manifest)}/model.safetensors?offset={offset}"
            if ask("PUT", target, ada, weights[offset : offset + step]).status_code == 200:
                sent.append(offset)

    with ThreadPoolExecutor(2) as pool:
        sent = sorted(offset for part in pool.map(sender, range(2)) for offset in part)
    assert sent == list(range(0, len(weights), step))
    assert next((home / "uploads").glob("*/*/files/model.safetensors")).read_bytes() == weights


def test_two_keys_upload_one_version_apart(
    url: str, ask: Ask, ada: Keypair, grace: Keypair, model: Path, manifest: Manifest
) -> None:
    begin(ask, manifest, ada)
    send_all(ask, ada, model, manifest)
    assert set(begin(ask, manifest, grace).json()["offsets"].values()) == {0}
    assert reserved_rao(url, grace) == PRICE_RAO


def test_a_key_sends_so_many_bytes_a_second_and_no_more(
    home: Path, genesis: bytes, ada: Keypair, manifest: Manifest
) -> None:
    large = Manifest((ManifestFile("x.safetensors", bytes(32), 4 * CHUNK_BYTES),))
    with serving(Home(home), Serve(upload_mib_per_s=0.001)) as url:

        def signed(method: str, target: str, body: bytes) -> requests.Response:
            headers = sign_request(ada, genesis, method, target, body)
            return requests.request(method, url + target, data=body, headers=headers, timeout=30)

        assert signed("POST", "/uploads", encode_manifest(large)).status_code == 201
        body = bytes(CHUNK_BYTES - 1000)
        assert signed("PUT", f"{place_of(large)}/x.safetensors?offset=0", body).status_code == 200
        refused = signed("PUT", f"{place_of(large)}/x.safetensors?offset={len(body)}", body)
    assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 60


def test_uploads_have_places(home: Path, genesis: bytes, ada: Keypair, grace: Keypair) -> None:
    with serving(Home(home), Serve(uploads=1)) as url:
        codes = []
        for key, number in ((ada, 0), (ada, 0), (grace, 1)):
            body = encode_manifest(Manifest((ManifestFile("x.safetensors", bytes([number] * 32), 5),)))
            headers = sign_request(key, genesis, "POST", "/uploads", body)
            answer = requests.post(f"{url}/uploads", data=body, headers=headers, timeout=30)
            codes.append(answer.json().get("code"))
    assert codes == [None, None, "busy"]

"""Signed requests: what is signed is taken once, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serve import signing
from cluster.serve.errors import HttpRefused
from cluster.serve.signing import BODY, KEY, NONCE, SIGNATURE, TIME, WINDOW_MS, Gatekeeper, sign_request
from ledger.keys import Keypair

GENESIS = bytes(range(32))
NOW = 1_800_000_000_000
PAIR = Keypair.from_seed(bytes(32))


def gatekeeper(genesis: bytes = GENESIS) -> Gatekeeper:
    return Gatekeeper(genesis, started_ms=0)


def signed(time_ms: int = NOW) -> dict[str, str]:
    return sign_request(PAIR, GENESIS, "PUT", "/uploads/00?offset=1", b"body", time_ms=time_ms)


def code_of(headers: dict[str, str], *, method: str = "PUT", target: str = "/uploads/00?offset=1") -> str:
    with pytest.raises(HttpRefused) as refused:
        gatekeeper().check(headers, method, target, at_ms=NOW)
    return refused.value.code


@given(st.binary(max_size=64), st.text(max_size=30), st.sampled_from(["GET", "POST", "PUT"]))
def test_what_is_signed_is_taken_and_names_its_signer_and_body(body: bytes, path: str, method: str) -> None:
    headers = sign_request(PAIR, GENESIS, method, path, body, time_ms=NOW)
    found = gatekeeper().check(headers, method, path, at_ms=NOW)
    assert found.key == PAIR.public
    assert found.body_hash.hex() == headers[BODY]


@pytest.mark.parametrize("off_ms", [-WINDOW_MS, 0, WINDOW_MS])
def test_a_minute_either_way_is_taken(off_ms: int) -> None:
    assert gatekeeper().check(signed(NOW + off_ms), "PUT", "/uploads/00?offset=1", at_ms=NOW).key == PAIR.public


@pytest.mark.parametrize("off_ms", [-WINDOW_MS - 1, WINDOW_MS + 1, -NOW])
def test_more_than_a_minute_is_stale(off_ms: int) -> None:
    assert code_of(signed(NOW + off_ms)) == "stale"


def test_what_was_signed_before_the_server_started_is_stale() -> None:
    """It may have been taken by the server before, whose memory is gone."""
    with pytest.raises(HttpRefused, match="stale"):
        Gatekeeper(GENESIS, started_ms=NOW + 1).check(signed(), "PUT", "/uploads/00?offset=1", at_ms=NOW + 2)


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/uploads/00?offset=1"), ("PUT", "/uploads/00?offset=2"), ("PUT", "/uploads/00")]
)
def test_a_signature_is_for_one_method_and_address(method: str, target: str) -> None:
    assert code_of(signed(), method=method, target=target) == "wrong_signature"


@pytest.mark.parametrize(
    "change",
    [
        {TIME: str(NOW + 1)},
        {NONCE: "00" * 16},
        {BODY: "00" * 32},
        {SIGNATURE: "00" * 64},
        {KEY: Keypair.from_seed(bytes([1] * 32)).address},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_header_is_covered(change: dict[str, str]) -> None:
    assert code_of(signed() | change) == "wrong_signature"


def test_another_networks_request_is_refused() -> None:
    with pytest.raises(HttpRefused, match="wrong_signature"):
        gatekeeper(bytes(32)).check(signed(), "PUT", "/uploads/00?offset=1", at_ms=NOW)


@pytest.mark.parametrize("name", [KEY, TIME, NONCE, BODY, SIGNATURE])
@pytest.mark.parametrize("value", ["", "x", "-1", "00", "١", "0" * 400, "\u2460"])
def test_headers_that_cannot_be_read_are_unsigned(name: str, value: str) -> None:
    assert code_of(signed() | {name: value}) in ("unsigned", "stale" if name == TIME else "unsigned")


def test_a_request_is_taken_once() -> None:
    gate, headers = gatekeeper(), signed()
    gate.check(headers, "PUT", "/uploads/00?offset=1", at_ms=NOW)
    for later_ms in (0, WINDOW_MS - 1, WINDOW_MS):
        with pytest.raises(HttpRefused, match="replayed"):
            gate.check(headers, "PUT", "/uploads/00?offset=1", at_ms=NOW + later_ms)


def test_one_of_the_future_is_remembered_until_it_is_stale() -> None:
    gate, headers = gatekeeper(), signed(NOW + WINDOW_MS)
    gate.check(headers, "PUT", "/uploads/00?offset=1", at_ms=NOW)
    with pytest.raises(HttpRefused, match="replayed"):
        gate.check(headers, "PUT", "/uploads/00?offset=1", at_ms=NOW + 2 * WINDOW_MS)


def test_memory_of_nonces_is_bounded_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MOST_NONCES", 3)
    gate = gatekeeper()
    for _ in range(3):
        gate.check(signed(), "PUT", "/uploads/00?offset=1", at_ms=NOW)
    with pytest.raises(HttpRefused, match="busy"):
        gate.check(signed(), "PUT", "/uploads/00?offset=1", at_ms=NOW)
    later = NOW + 2 * WINDOW_MS + 1
    assert gate.check(signed(later), "PUT", "/uploads/00?offset=1", at_ms=later)

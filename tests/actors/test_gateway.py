"""The gateway against endpoints that misbehave in every way that we know, on real sockets, all of them at once."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from actors.dispatch import Failure, Reason
from actors.errors import EndpointRefused
from actors.gateway import Gateway, GatewaySettings, Target, share_s, try_endpoint
from actors.post import secure_context
from actors.remote_wire import Seen, answer_question, open_question
from actors.wire import Query, WireError, check_answer, sign_query
from benchmarks.hostile_peer import BEHAVIOURS, random_said, read_question, serving
from ledger.keys import Keypair
from ledger.wallet import Wallet

GENESIS = bytes(range(32))
WINDOWS, PREFIX_BYTES = 300, 16
DEADLINE_S = 6.0
EXPECTED: dict[str, tuple[Reason, str]] = {
    "tampers": (Reason.INVALID, "signature"),
    "signs_for_another": (Reason.INVALID, "signature"),
    "alters_the_question": (Reason.INVALID, "0 bytes"),
    "replays": (Reason.INVALID, "another question"),
    "reorders": (Reason.INVALID, "another question"),
    "asks_twice": (Reason.INVALID, "0 bytes"),
    "stalls": (Reason.LATE, "did not answer within"),
    "drips_its_head": (Reason.LATE, "did not answer within"),
    "drips_its_body": (Reason.LATE, "did not answer within"),
    "sends_a_gigabyte": (Reason.INVALID, "1000000000 bytes, above"),
    "sends_without_end": (Reason.INVALID, "in chunks or compressed"),
    "sends_crumbs": (Reason.INVALID, "in chunks or compressed"),
    "says_go_on": (Reason.DEAD, "status 100"),
    "sends_a_bomb": (Reason.INVALID, "in chunks or compressed"),
    "sends_an_endless_head": (Reason.DEAD, "a head above"),
    "closes_half_way": (Reason.DEAD, "half-way"),
    "answers_too_little": (Reason.INVALID, "bytes, expected"),
    "hangs_up": (Reason.DEAD, "closed"),
    "redirects": (Reason.INVALID, "redirect"),
    "fails": (Reason.DEAD, "status 500"),
    "babbles": (Reason.DEAD, "closed"),
    "fills": (Reason.INVALID, "cannot be read"),
}
PASSED_ON = ("honest", "lies", "doubles", "boasts", "not_a_number")
"""What is well signed goes to the validators, who judge what it says."""


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


VALIDATORS = tuple(keypair(name) for name in ("vera", "victor"))


@pytest.fixture(scope="module")
def wallets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wallets")
    Wallet.create(folder, "operator", coldkey_seed=bytes(32), hotkey_seed=keypair("keeper").seed)
    return folder


def make_gateway(wallets: Path, *, at_once: int = 64, allow_private: bool = True) -> Gateway:
    return Gateway(
        GatewaySettings(wallets=str(wallets), operator="operator", at_once=at_once, allow_private=allow_private)
    )


def make_queries() -> list[Query]:
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 256, (WINDOWS, PREFIX_BYTES), dtype=np.uint8) for _ in VALIDATORS]
    return [
        sign_query(validator, genesis=GENESIS, epoch=1, panel="next_byte", text_WT=text_WT)
        for validator, text_WT in zip(VALIDATORS, texts, strict=True)
    ]


def honest_peer(hotkey: Keypair) -> Callable[[bytes], bytes]:
    """An honest peer's replies, without a model: distributions by chance; nothing to who may not ask."""
    seen = Seen(now_s=0.0)

    def reply(data: bytes) -> bytes:
        try:
            question = open_question(data, hotkey, genesis=GENESIS, asker=keypair("keeper").public, seen=seen)
        except WireError:
            return b""
        return answer_question(question, random_said(len(question.prefixes)), hotkey)

    return reply


@contextmanager
def endpoints(names: tuple[str, ...]) -> Iterator[list[Target]]:
    with ExitStack() as stack:
        yield [
            Target(
                keypair(name).public,
                stack.enter_context(serving(lambda name=name: name, honest_peer(keypair(name)), keypair(name))),
            )
            for name in names
        ]


@pytest.mark.thorough
def test_whatever_some_do_the_others_are_heard(wallets: Path) -> None:
    names = (*EXPECTED, *PASSED_ON)
    assert {*names} == {*BEHAVIOURS}
    queries = make_queries()
    with endpoints(names) as targets:
        failures, *answers = make_gateway(wallets).ask(targets, DEADLINE_S, *queries)
    for name, failure, said in zip(names, failures, answers, strict=True):
        if name in PASSED_ON:
            assert failure is None, f"{name}: {failure}"
            for answer, query in zip(said, queries, strict=True):
                signer = keypair(name).public
                check_answer(answer, query, version=signer, signers=(signer,))
                assert answer.windows == WINDOWS
        else:
            reason, sentence = EXPECTED[name]
            assert isinstance(failure, Failure), name
            assert (failure.reason, sentence in failure.sentence) == (reason, True), f"{name}: {failure}"
            assert not said


def test_each_has_its_share_of_the_time() -> None:
    assert share_s(32, 32, 60.0) == 60.0
    assert share_s(33, 32, 60.0) == 30.0
    assert share_s(0, 32, 60.0) == 60.0
    assert share_s(1000, 1, 10.0) == pytest.approx(0.01)


def test_who_stalls_does_not_keep_others_from_being_asked(wallets: Path) -> None:
    names = ("stalls", "honest", "stalls")
    with endpoints(names) as targets:
        failures, *answers = make_gateway(wallets, at_once=1).ask(targets, 3.0, *make_queries())
    assert [failure is None for failure in failures] == [False, True, False]
    assert [len(said) for said in answers] == [0, len(VALIDATORS), 0]


def test_nobody_is_asked_nothing(wallets: Path) -> None:
    assert make_gateway(wallets).ask((), 1.0, *make_queries()) == [[]]


def trial(endpoint: str, hotkey: Keypair, *, allow_private: bool = True, deadline_s: float = 2.0) -> None:
    try_endpoint(
        endpoint,
        hotkey=hotkey.public,
        genesis=GENESIS,
        asker=keypair("keeper"),
        window_bytes=PREFIX_BYTES + 1,
        deadline_s=deadline_s,
        allow_private=allow_private,
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("doubles", "wrong_answer"),
        ("not_a_number", "wrong_answer"),
        ("fills", "wrong_answer"),
        ("signs_for_another", "wrong_signature"),
        ("tampers", "wrong_signature"),
        ("redirects", "redirect"),
        ("fails", "http_status"),
        ("stalls", "too_slow"),
        ("sends_a_gigabyte", "too_large"),
        ("closes_half_way", "closed"),
        ("hangs_up", "closed"),
    ],
)
def test_a_trial_refuses_with_a_code(name: str, code: str) -> None:
    with endpoints((name,)) as (target,), pytest.raises(EndpointRefused) as caught:
        trial(target.endpoint, keypair(name))
    assert caught.value.code == code


def test_a_trial_of_an_honest_endpoint_passes() -> None:
    with endpoints(("honest",)) as (target,):
        trial(target.endpoint, keypair("honest"))
        with pytest.raises(EndpointRefused):
            trial(target.endpoint, keypair("somebody else"))


def test_private_addresses_are_asked_only_where_that_is_allowed() -> None:
    with endpoints(("honest",)) as (target,):
        port = target.endpoint.rsplit(":", 1)[1]
        hosts = ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]")
        for host in hosts:
            with pytest.raises(EndpointRefused) as caught:
                trial(f"http://{host}:{port}", keypair("honest"), allow_private=False)
            assert caught.value.code == "private_address", f"{host}: {caught.value}"
        trial(f"http://localhost:{port}", keypair("honest"))


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "168.63.129.16"])
def test_link_local_addresses_are_never_asked(host: str) -> None:
    with pytest.raises(EndpointRefused) as caught:
        trial(f"http://{host}/latest", keypair("honest"))
    assert caught.value.code == "private_address"


def test_a_name_is_looked_up_once_and_its_address_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def getaddrinfo(host: str, port: int, **other: object) -> list[object]:
        looked_up.append(host)
        address = "127.0.0.1" if len(looked_up) == 1 else "93.184.216.34"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(EndpointRefused) as caught:
        trial("http://rebinding.example/", keypair("honest"), allow_private=False)
    assert (caught.value.code, looked_up) == ("private_address", ["rebinding.example"])


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for endpoint in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(EndpointRefused) as caught:
            trial(endpoint, keypair("honest"))
        assert caught.value.code == "unreachable"


@contextmanager
def behind_tls(certificate: Path, key: Path, hotkey: Keypair) -> Iterator[int]:
    """An honest endpoint with TLS: its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    reply = honest_peer(hotkey)

    def answer(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secured:
                    body = reply(read_question(secured))
                    secured.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with behind_tls(certificate, key, keypair("honest")) as port:
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(EndpointRefused, match="certificate") as caught:
                trial(f"https://{host}:{port}", keypair("honest"))
            assert caught.value.code == "unreachable"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure_context.cache_clear()
        try:
            trial(f"https://localhost:{port}", keypair("honest"))
            with pytest.raises(EndpointRefused, match="certificate"):
                trial(f"https://127.0.0.1:{port}", keypair("honest"))
        finally:
            secure_context.cache_clear()

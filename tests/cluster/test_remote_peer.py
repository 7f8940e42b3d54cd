"""The example of a remote peer, in a process of its own: it answers its network with what its model says, once."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from actors.errors import EndpointRefused
from actors.gateway import try_endpoint
from actors.remote_wire import open_reply, seal_question
from actors.wire import sign_query
from ledger.keys import Keypair
from ledger.wallet import Wallet
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import load_hosted
from models.host.next_byte import next_byte

ROOT = Path(__file__).parents[2]
GENESIS = bytes(range(32))
KEEPER = Keypair.from_seed(bytes(31) + b"k")
TEXTS = np.frombuffer(b"import numpy\nprint(numpy.pi)\nfrom", np.uint8)[:32].reshape(2, 16)
START_S = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    save_model(build_model(Architecture("llama", hidden=32, layers=1, heads=2), seed=3), folder)
    return folder


@pytest.fixture(scope="module")
def peer(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bytes]]:
    """The address of a running peer, and its hotkey."""
    wallets = tmp_path_factory.mktemp("wallets")
    wallet, _ = Wallet.create(wallets, "remote")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "examples/remote_peer/peer.py", str(model), "--wallets", str(wallets)]
    options = ["--wallet", "remote", "--genesis", GENESIS.hex(), "--keeper", KEEPER.address, "--port", str(port)]
    with subprocess.Popen([*command, *options], cwd=ROOT) as process:
        try:
            end = time.monotonic() + START_S
            while time.monotonic() < end and process.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", wallet.hotkey_public()
        finally:
            process.terminate()


def trial(endpoint: str, hotkey: bytes, *, genesis: bytes = GENESIS, asker: Keypair = KEEPER) -> None:
    try_endpoint(
        endpoint,
        hotkey=hotkey,
        genesis=genesis,
        asker=asker,
        window_bytes=17,
        deadline_s=15.0,
        allow_private=True,
    )


def test_it_passes_the_trial(peer: tuple[str, bytes]) -> None:
    trial(*peer)


def test_it_answers_nobody_else(peer: tuple[str, bytes]) -> None:
    for other in ({"genesis": bytes(32)}, {"asker": Keypair.generate()}):
        with pytest.raises(EndpointRefused) as caught:
            trial(*peer, **other)
        assert caught.value.code == "http_status"
    assert requests.get(peer[0], timeout=10).status_code == 405
    assert requests.post(peer[0], data=b"junk", timeout=10).status_code == 400


def test_it_says_what_its_model_says_and_says_it_once(peer: tuple[str, bytes], model: Path) -> None:
    endpoint, hotkey = peer
    validator = Keypair.generate()
    query = sign_query(validator, genesis=GENESIS, epoch=4, panel="next_byte", text_WT=TEXTS)
    question = seal_question(query, KEEPER, receiver=hotkey, valid_for_s=60.0)
    response = requests.post(endpoint, data=question, timeout=30)
    answer = open_reply(response.content, question=question, query=query, receiver=hotkey)
    expected_W256 = next_byte(load_hosted(model), [text_T.tobytes() for text_T in TEXTS])
    assert np.allclose(answer.said, expected_W256, atol=1e-5)
    again = requests.post(endpoint, data=question, timeout=30)
    assert (again.status_code, again.text) == (400, "the question was asked before")

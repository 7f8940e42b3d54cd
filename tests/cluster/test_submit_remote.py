"""`taoray submit http://…`: a peer in a process of its own is tried, registered, moved and withdrawn."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import taoray
from cluster.config import OPERATOR, load_network
from cluster.founding import found
from cluster.home import Home
from ledger.entries import Neuron
from ledger.keys import encode_address
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.wallet import Wallet
from tests.models.intake.architectures import make

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tiny_toml: Path, tmp_path: Path) -> Path:
    """The home of a next_byte network that may ask peers on this machine, with a wallet for the peer."""
    place = Home(tmp_path / "home")
    network = load_network(tiny_toml, ["query.panel=next_byte", "query.windows=512", "remote.allow_private=true"])
    found(network, place)
    place.resolved.write_bytes(msgspec.json.encode(network))
    Wallet.create(place.wallets, "far")
    return place.folder


@pytest.fixture
def endpoint(home: Path, tmp_path: Path) -> Iterator[str]:
    """Where examples/remote_peer/peer.py answers for the wallet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    standing = taoray.status(home)
    told = ["--wallet", "far", "--genesis", standing.genesis, "--keeper", standing.keeper, "--port", str(port)]
    told += ["--wallets", str(Home(home).wallets)]
    command = [sys.executable, "examples/remote_peer/peer.py", str(make("llama", tmp_path / "model"))]
    peer = subprocess.Popen([*command, *told], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert peer.poll() is None
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        peer.kill()
        peer.wait()


def seal(home: Path) -> tuple[tuple[str, ...], Neuron]:
    """The next block's receipts, and the last neuron after it."""
    place = Home(home)
    with Chain.open(place.chain, write=True) as chain, closing(Mempool(place.mempool, chain.genesis_hash)) as mempool:
        kind = {"closed": "open", "open": "commit", "commit": "close"}[chain.state.globals.phase]
        chosen = select(mempool.pending(), chain.state, kind, chain.head.height + 1)
        block = chain.build(kind, chosen.extrinsics, term=0, keypair=Wallet.open(place.wallets, OPERATOR).hotkey())
        mempool.remove([*chosen.taken, *chosen.dropped])
        return block.receipts, chain.state.neurons()[-1]


def test_an_endpoint_is_tried_registered_moved_and_withdrawn(home: Path, endpoint: str) -> None:
    seal(home)
    made = taoray.submit(endpoint, name="far", home=home)
    assert (made.state, made.kind, made.manifest, made.valued_epoch) == ("queued", "remote", None, 2)
    assert made.hotkey == encode_address(Wallet.open(Home(home).wallets, "far").hotkey_public())
    assert taoray.submit(endpoint, name="far", home=home).extrinsics == made.extrinsics
    for _ in range(2):
        assert set(seal(home)[0]) <= {"ok"}, "no other block takes the endpoint before its hotkey is there"
    receipts, neuron = seal(home)
    assert (set(receipts), neuron.name, neuron.endpoint, neuron.manifest) == ({"ok"}, "far", endpoint, None)
    assert taoray.submit(endpoint, name="far", home=home).state == "unchanged"

    moved = endpoint.replace("127.0.0.1", "localhost")
    assert taoray.submit(moved, name="far", home=home).state == "queued"
    assert seal(home)[1].endpoint == moved
    taoray.withdraw("far", home=home)
    assert seal(home)[1].endpoint is None

    with pytest.raises(taoray.EndpointRefused) as refused:
        taoray.submit(endpoint, name="other", home=home)
    assert refused.value.code in ("wrong_signature", "http_status")
    with pytest.raises(taoray.EndpointRefused) as silent:
        taoray.submit("http://127.0.0.1:1/", name="other", home=home)
    assert silent.value.code == "unreachable"
    assert seal(home)[1].name != "other"

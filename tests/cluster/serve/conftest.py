"""A founded home, served on loopback; and keys of its wallets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from cluster.config import Serve, load_network
from cluster.founding import found
from cluster.home import Home
from cluster.serve.server import serving
from cluster.serve.signing import sign_request
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.wallet import Wallet
from models.manifest import Manifest, manifest_folder

SETTINGS = Serve(requests_per_minute=100_000)


@pytest.fixture(scope="module")
def reading_url(tiny_toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a home that no test writes to, for a file of tests."""
    place = Home(tmp_path_factory.mktemp("home"))
    found(load_network(tiny_toml), place)
    with serving(place, SETTINGS) as address:
        yield address


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    """A server of the home."""
    with serving(Home(home), SETTINGS) as address:
        yield address


@pytest.fixture
def ada(home: Path) -> Keypair:
    """A coldkey with 10 TAO and no neuron."""
    return Wallet.open(home / "wallets", "ada").coldkey()


@pytest.fixture
def grace(home: Path) -> Keypair:
    """Another one."""
    return Wallet.open(home / "wallets", "grace").coldkey()


@pytest.fixture
def vera(home: Path) -> Keypair:
    """The hotkey of a neuron, without free TAO."""
    return Wallet.open(home / "wallets", "vera").hotkey()


@pytest.fixture
def genesis(home: Path) -> bytes:
    """The network's genesis hash."""
    with Chain.open(home / "ledger" / "chain.db") as chain:
        return chain.genesis_hash


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is listed as a model, of three files, one of them empty."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "README").touch()
    return folder


@pytest.fixture
def manifest(model: Path) -> Manifest:
    """The folder's manifest."""
    return manifest_folder(model)


@pytest.fixture
def ask(url: str, genesis: bytes) -> Callable[..., requests.Response]:
    """Sends a signed request."""

    def signed(method: str, target: str, key: Keypair, body: bytes = b"") -> requests.Response:
        headers = sign_request(key, genesis, method, target, body)
        return requests.request(method, url + target, data=body, headers=headers, timeout=30)

    return signed

"""`taoray submit --network`: into a network's HTTP server on loopback, with wallets that lie elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import taoray
from cluster.config import OPERATOR, Serve
from cluster.home import Home
from cluster.serve.server import serving
from ledger.blocks import Block
from ledger.keys import encode_address
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet, list_wallets
from models.store import Store
from tests.models.intake.architectures import make

Command = Callable[..., Any]


def seal(home: Path) -> Block:
    """The next block, of whatever is queued for its kind."""
    place = Home(home)
    with Chain.open(place.chain, write=True) as chain, closing(Mempool(place.mempool, chain.genesis_hash)) as mempool:
        kind = {"closed": "open", "open": "commit", "commit": "close"}[chain.state.globals.phase]
        chosen = select(mempool.pending(), chain.state, kind, chain.head.height + 1)
        block = chain.build(kind, chosen.extrinsics, term=0, keypair=Wallet.open(place.wallets, OPERATOR).hotkey())
        mempool.remove([*chosen.taken, *chosen.dropped])
        return block


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    with serving(Home(home), Serve()) as address:
        yield address


@pytest.fixture
def elsewhere(home: Path, tmp_path: Path) -> Path:
    """A folder with a wallet that has 10 TAO in the network."""
    folder = tmp_path / "elsewhere"
    wallet, _ = Wallet.create(Home(folder).wallets, "eve")
    taoray.faucet(home, encode_address(wallet.coldkey_public), 10 * RAO_PER_TAO)
    for _ in range(3):
        seal(home)
    return folder


def test_a_model_is_sent_registered_and_withdrawn(
    run: Command, home: Path, elsewhere: Path, url: str, tmp_path: Path
) -> None:
    wallets = list_wallets(Home(home).wallets)
    first = taoray.submit(make("llama", tmp_path / "first"), name="eve", home=elsewhere, network=url)
    assert (first.state, first.network, first.running) == ("queued", "tiny", False)
    assert set(seal(home).receipts) == {"ok"}
    again = taoray.submit(tmp_path / "first", name="eve", home=elsewhere, network=url, wait_s=60)
    assert again.state in ("published", "unchanged"), "as soon as the server tells of the block"
    assert (again.uid, again.manifest) == (3, first.manifest)
    with Chain.open(Home(home).chain) as chain:
        neuron = chain.state.neurons()[3]
        assert (neuron.manifest, neuron.versions) == (bytes.fromhex(first.manifest), 1)
        assert chain.state.account(neuron.coldkey) < 10 * RAO_PER_TAO
    assert {bytes.fromhex(first.manifest)} == Store(Home(home).store).versions()
    done = run("withdraw", "eve", "--home", str(elsewhere), "--network", url, "--json")
    assert done.returncode == 0, done.stderr
    for _ in range(3):
        assert set(seal(home).receipts) <= {"ok"}
    with Chain.open(Home(home).chain) as chain:
        assert chain.state.neurons()[3].manifest is None
    assert list_wallets(Home(home).wallets) == wallets, "no key of eve's is here"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--wallet", "nobody"), "no_wallet"),
        (("--wallet", "eve", "--stake", "1000"), "insufficient_balance"),
        (("--wallet", "eve", "--train"), "train"),
        (("--wallet", "eve", "--max-price", "0.001"), "price_too_high"),
        (("--wallet", "eve", "--name", "vera"), "name_taken"),
    ],
)
def test_what_the_network_would_refuse_is_not_sent(
    run: Command, home: Path, elsewhere: Path, url: str, tmp_path: Path, options: tuple[str, ...], code: str
) -> None:
    with pytest.raises(taoray.ClusterError) if code != "price_too_high" else pytest.raises(taoray.Refusal) as refused:
        _submit(make("llama", tmp_path / "model"), elsewhere, url, options)
    assert refused.value.code == code
    assert Store(Home(home).store).versions() == set()


def _submit(model: Path, elsewhere: Path, url: str, options: tuple[str, ...]) -> None:
    told = dict(zip(options[::2], options[1::2], strict=False))
    price = told.get("--max-price")
    taoray.submit(
        model,
        name=told.get("--name"),
        wallet=told["--wallet"],
        stake_rao=int(told.get("--stake", "0")) * RAO_PER_TAO,
        max_price_rao=None if price is None else int(float(price) * RAO_PER_TAO),
        train="--train" in options,
        home=elsewhere,
        network=url,
    )


def test_a_refused_upload_says_why_and_leaves_nothing(
    run: Command, home: Path, elsewhere: Path, url: str, tmp_path: Path
) -> None:
    model = make("llama", tmp_path / "eve")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(taoray.ModelRefused) as here:
        taoray.submit(model, home=elsewhere, network=url)
    assert Store(Home(home).store).versions() == set()
    assert here.value.code
    done = run("submit", str(model), "--home", str(elsewhere), "--network", "http://127.0.0.1:1", "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr

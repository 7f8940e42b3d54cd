"""`taoray.send`: any call of the ledger, signed by a wallet's key, queued, and taken by the block of its kind."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import taoray
from cluster.config import OPERATOR, load_network
from cluster.founding import found
from cluster.home import Home
from ledger.extrinsics import Checkpoint, Publish, Serve, SetIdentity, SetTake, SwapHotkey, Withdraw, decode_extrinsic
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.wallet import Wallet


def test_what_is_sent_is_in_the_next_block(tiny_toml: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    found(load_network(tiny_toml), home)
    wallet, fresh = Wallet.open(home.wallets, "vera"), Keypair.from_seed(b"\x0c" * 32)
    hotkey = wallet.hotkey_public()
    for call in (
        Publish(manifest=b"\1" * 32),
        Withdraw(),
        Checkpoint(parameters=b"\2" * 32, manifest=b"\3" * 32),
        Serve(endpoint="http://127.0.0.1:8091"),
    ):
        taoray.send(tmp_path, "vera", call, hotkey="default")
    for call in (
        SetTake(hotkey=hotkey, take=5000),
        SetIdentity(hotkey=hotkey, name="Vera", url="", description="a validator"),
        SwapHotkey(old=hotkey, new=fresh.public),
    ):
        assert len(bytes.fromhex(taoray.send(tmp_path, "vera", call))) == 32
    with pytest.raises(taoray.Refusal, match="invalid_call"):
        taoray.send(tmp_path, "vera", SetTake(hotkey=hotkey, take=70000))

    with Chain.open(home.chain, write=True) as chain, closing(Mempool(home.mempool, chain.genesis_hash)) as mempool:
        chosen = select(mempool.pending(), chain.state, "open", 1)
        block = chain.build("open", chosen.extrinsics, term=0, keypair=Wallet.open(home.wallets, OPERATOR).hotkey())
        assert set(block.receipts) == {"ok"}
        neuron = chain.state.neuron_by_hotkey(fresh.public)
        assert neuron is not None
        assert (neuron.name, neuron.endpoint, neuron.manifest) == ("vera", "http://127.0.0.1:8091", None)
        assert chain.state.take(fresh.public) == (5000, 65535)


def test_who_signs_with_one_key_at_once_takes_nonces_of_his_own(tiny_toml: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    found(load_network(tiny_toml), home)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rao: taoray.faucet(tmp_path, "ada", 1000 + rao), range(24)))
    with Chain.open(home.chain) as chain, closing(Mempool(home.mempool, chain.genesis_hash)) as mempool:
        nonces = [decode_extrinsic(data).nonce for _, data in mempool.pending()]
    assert sorted(nonces) == list(range(1, 25))

"""`taoray submit` and `withdraw` in a home that nobody drives: this file seals the blocks."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import taoray
from cluster.config import OPERATOR, load_network
from cluster.founding import found
from cluster.home import Home
from cluster.home_door import HomeDoor
from ledger.blocks import Block
from ledger.extrinsics import Register, Transfer, Withdraw, decode_extrinsic
from ledger.keys import encode_address
from ledger.state import State
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.units import RAO_PER_TAO
from ledger.wallet import Wallet, list_wallets
from models.store import Store
from tests.models.intake.architectures import make

Command = Callable[..., Any]


def queued(home: Path) -> list[object]:
    with Chain.open(Home(home).chain) as chain, closing(Mempool(Home(home).mempool, chain.genesis_hash)) as mempool:
        return [decode_extrinsic(data).call for _, data in mempool.pending()]


def seal(home: Path) -> Block:
    """The next block, of whatever is queued for its kind."""
    place = Home(home)
    with Chain.open(place.chain, write=True) as chain, closing(Mempool(place.mempool, chain.genesis_hash)) as mempool:
        kind = {"closed": "open", "open": "commit", "commit": "close"}[chain.state.globals.phase]
        chosen = select(mempool.pending(), chain.state, kind, chain.head.height + 1)
        key = Wallet.open(place.wallets, OPERATOR).hotkey()
        block = chain.build(kind, chosen.extrinsics, term=0, keypair=key)
        mempool.remove([*chosen.taken, *chosen.dropped])
        return block


def state(home: Path) -> State:
    with Chain.open(Home(home).chain) as chain:
        return chain.state


def versions(home: Path) -> set[bytes]:
    return Store(Home(home).store).versions()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make("llama", tmp_path / "My Llama")


def test_a_model_is_queued_once_then_registered_and_published(run: Command, home: Path, model: Path) -> None:
    done = run("submit", str(model), "--home", str(home), "--stake", "2.5", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["state"], made["name"], made["uid"], made["valued_epoch"]) == ("queued", "my-llama", None, 1)
    assert made["delivered"]["model_type"] == "llama"
    assert versions(home) == {bytes.fromhex(made["manifest"])}
    assert [type(call).__name__ for call in queued(home)] == ["Transfer", "Register", "Publish", "AddStake"]
    again = taoray.submit(model, home=home)
    assert (again.state, list(again.extrinsics), len(queued(home))) == ("queued", made["extrinsics"], 4)
    assert set(seal(home).receipts) == {"ok"}
    neuron = state(home).neurons()[-1]
    assert (neuron.name, neuron.uid, neuron.manifest) == ("my-llama", 3, bytes.fromhex(made["manifest"]))
    assert encode_address(neuron.hotkey) == made["hotkey"]
    assert neuron.published_epoch == made["valued_epoch"]
    assert state(home).stake(neuron.hotkey) == 5 * RAO_PER_TAO // 2
    assert state(home).account(neuron.coldkey) == made["max_price_rao"] - RAO_PER_TAO
    third = taoray.submit(model, home=home)
    assert (third.state, third.uid, third.extrinsics, third.valued_epoch) == ("unchanged", 3, (), 1)
    assert third.manifest == made["manifest"]
    assert queued(home) == []


def _seal_when_queued(home: Path, count: int) -> None:
    ended = threading.Event()
    while not ended.wait(0.05):
        if len(queued(home)) >= count:
            seal(home)
            ended.set()


def test_what_is_refused_leaves_nothing(run: Command, home: Path, model: Path) -> None:
    wallets, before = list_wallets(Home(home).wallets), queued(home)
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    done = run("submit", str(model), "--home", str(home), "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert (document["kind"], document["code"]) == ("ModelRefused", "pickle")
    assert "Traceback" not in done.stderr
    assert (list_wallets(Home(home).wallets), queued(home), versions(home)) == (wallets, before, set())
    assert not [path for path in (Home(home).store / "aside").glob("*") if Home(home).store.exists()]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--name", "vera the first"), "name"),
        (("--name", OPERATOR), "name"),
        (("--max-price", "0.5"), "price_too_high"),
        (("--stake", "5000"), "insufficient_balance"),
        (("--train", "--network", "http://127.0.0.1:9"), None),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_its_code(
    run: Command, home: Path, model: Path, options: tuple[str, ...], code: str | None
) -> None:
    done = run("submit", str(model), "--home", str(home), *options, "--json")
    assert done.returncode == 1, done
    assert json.loads(done.stdout)["code"] == code or code is None
    assert queued(home) == []
    assert "Traceback" not in done.stderr


def test_remote_peers_need_a_network_of_next_bytes(home: Path) -> None:
    with pytest.raises(taoray.EndpointRefused) as refused:
        taoray.submit("http://127.0.0.1:9/", home=home, name="far")
    assert refused.value.code == "panel"
    assert queued(home) == []


def test_a_version_takes_the_place_of_another_and_is_withdrawn(run: Command, home: Path, tmp_path: Path) -> None:
    first = taoray.submit(make("llama", tmp_path / "first"), home=home, name="ann", train=True)
    record = Home(home).submissions / "ann.json"
    assert json.loads(record.read_text())["train"]
    second = taoray.submit(make("gpt2", tmp_path / "second"), home=home, name="ann")
    assert (second.hotkey, second.state, second.max_price_rao) == (first.hotkey, "queued", None)
    assert not json.loads(record.read_text())["train"], "the last submission says whether it is trained"
    assert set(seal(home).receipts) == {"ok"}
    neuron = state(home).neurons()[3]
    assert (neuron.manifest, neuron.versions, neuron.published_epoch) == (bytes.fromhex(second.manifest), 2, 1)
    gone = json.loads(run("withdraw", "ann", "--home", str(home), "--json").stdout)
    assert (gone["state"], gone["uid"], gone["last_epoch"], gone["hotkey"]) == ("queued", 3, 1, first.hotkey)
    assert taoray.withdraw("ann", home=home).extrinsics == tuple(gone["extrinsics"])
    assert queued(home) == [Withdraw()]
    for _ in range(3):
        assert set(seal(home).receipts) <= {"ok"}
    assert state(home).neurons()[3].manifest is None
    assert state(home).globals.neuron_count == 4
    with pytest.raises(taoray.Refusal, match="no_version"):
        taoray.withdraw("ann", home=home)
    with pytest.raises(taoray.SubmissionRefused, match="not_registered"):
        taoray.withdraw("nobody", home=home)


def test_what_is_anothers_is_refused_and_a_risen_price_accepted_or_not(home: Path, model: Path, tmp_path: Path) -> None:
    rich, door = Wallet.open(Home(home).wallets, OPERATOR), HomeDoor(Home(home))
    for index in range(4):
        hotkey = rich.create_hotkey(f"other-{index}").public
        taoray.send(home, OPERATOR, Register(hotkey=hotkey, name=f"other-{index}", max_price_rao=100 * RAO_PER_TAO))
    price_rao = door.terms().price_rao
    door.close()
    assert price_rao > 2 * RAO_PER_TAO
    with pytest.raises(taoray.Refusal, match="price_too_high"):
        taoray.submit(model, home=home, name="ann", max_price_rao=price_rao - 1)
    sealing = threading.Thread(target=_seal_when_queued, args=(home, 4 + 3))
    sealing.start()
    made = taoray.submit(model, home=home, name="ann", max_price_rao=price_rao, wait_s=120)
    sealing.join()
    assert (made.state, made.uid, made.height, made.price_rao) == ("registered", 7, 1, price_rao)
    assert made.immune_until_epoch == 13
    assert not made.final, "nobody signed the block"

    with pytest.raises(taoray.Refusal, match="already_published"):
        taoray.submit(model, home=home, name="ben")
    with pytest.raises(taoray.SubmissionRefused) as taken:
        taoray.submit(make("opt", tmp_path / "opt"), home=home, name="cat", wallet=OPERATOR, hotkey="other-0")
    assert taken.value.code == "hotkey_taken"
    Home(home).wallets.joinpath("ann").rename(tmp_path / "ann")
    with pytest.raises(taoray.SubmissionRefused) as refused:
        taoray.submit(tmp_path / "opt", home=home, name="ann")
    assert refused.value.code == "name_taken"
    assert queued(home) == []


def test_without_development_a_wallet_pays_and_a_refusing_block_is_an_error(
    tiny_toml: Path, tmp_path: Path, model: Path
) -> None:
    home = tmp_path / "real"
    home.mkdir()
    found(load_network(tiny_toml, ["network.development=false"]), Home(home))
    with pytest.raises(taoray.SubmissionRefused) as refused:
        taoray.submit(model, home=home)
    assert refused.value.code == "no_wallet"
    Wallet.create(Home(home).wallets, "ann", password="open sesame")
    with pytest.raises(taoray.LedgerError, match="password"):
        taoray.submit(model, home=home, name="ann")
    with pytest.raises(taoray.SubmissionRefused) as poor:
        taoray.submit(model, home=home, name="ann", password=lambda: "open sesame")
    assert poor.value.code == "insufficient_balance"

    theft = Register(hotkey=Wallet.open(Home(home).wallets, "ada").hotkey_public(), name="thief", max_price_rao=10**11)
    taoray.send(home, "grace", theft)
    sealing = threading.Thread(target=_seal_when_queued, args=(home, 1 + 3))
    sealing.start()
    with pytest.raises(taoray.Refusal, match="already_registered"):
        taoray.submit(model, home=home, name="ann", wallet="ada", stake_rao=RAO_PER_TAO, wait_s=120)
    sealing.join()
    assert [neuron.name for neuron in state(home).neurons()[3:]] == ["thief"]


def test_submissions_of_one_wallet_at_once_are_all_taken(home: Path, tmp_path: Path) -> None:
    folders = {f"peer-{seed}": make("llama", tmp_path / f"peer-{seed}", seed) for seed in range(2)}
    Wallet.create(Home(home).wallets, "shared")
    threads = [
        threading.Thread(target=taoray.submit, args=(folder,), kwargs={"home": home, "wallet": "shared"})
        for folder in folders.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(call, Transfer) for call in queued(home)) == 2
    assert set(seal(home).receipts) == {"ok"}
    assert {neuron.name for neuron in state(home).neurons()[3:]} == set(folders)
    assert len(Wallet.open(Home(home).wallets, "shared").hotkeys()) == 2


def test_only_a_home_trains_and_no_endpoint(home: Path, model: Path) -> None:
    with pytest.raises(taoray.SubmissionRefused) as far:
        taoray.submit("http://127.0.0.1:9/", home=home, name="ben", train=True)
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises((taoray.SubmissionRefused, taoray.ModelRefused)):
        taoray.submit(model, home=home, name="ben", train=True)
    assert far.value.code == "train"
    assert queued(home) == []

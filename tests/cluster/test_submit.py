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
from ledger.extrinsics import Publish, Register, Transfer, Withdraw, decode_extrinsic
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


@pytest.mark.thorough
def test_again_under_its_name_is_a_version_of_the_same_uid(home: Path, model: Path, tmp_path: Path) -> None:
    first = taoray.submit(model, home=home, name="ann")
    waiting = taoray.submit(make("gpt2", tmp_path / "second"), home=home, name="ann")
    assert waiting.hotkey == first.hotkey
    assert set(seal(home).receipts) == {"ok"}
    assert state(home).neurons()[-1].manifest == bytes.fromhex(waiting.manifest)
    paid = state(home).account(state(home).neurons()[-1].coldkey)
    third = taoray.submit(make("opt", tmp_path / "third"), home=home, name="ann")
    assert (third.state, third.uid, third.max_price_rao) == ("queued", 3, None)
    for _ in range(3):
        seal(home)
    neuron = state(home).neurons()[-1]
    assert (neuron.manifest, neuron.versions, neuron.published_epoch) == (bytes.fromhex(third.manifest), 3, 2)
    assert state(home).account(neuron.coldkey) == paid
    assert state(home).globals.neuron_count == 4


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


@pytest.mark.thorough
def test_a_name_of_anothers_and_a_version_of_anothers_are_refused(
    home: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taoray.submit(model, home=home, name="ann")
    with pytest.raises(taoray.Refusal, match="already_published"):
        taoray.submit(model, home=home, name="ben")
    seal(home)
    with pytest.raises(taoray.Refusal, match="already_published"):
        taoray.submit(model, home=home, name="ben")
    Home(home).wallets.joinpath("ann").rename(tmp_path / "ann")
    with pytest.raises(taoray.SubmissionRefused) as refused:
        taoray.submit(make("opt", tmp_path / "other"), home=home, name="ann")
    assert refused.value.code == "name_taken"
    assert queued(home) == []


def test_only_a_home_in_development_makes_wallets(tiny_toml: Path, tmp_path: Path, model: Path) -> None:
    home = tmp_path / "real"
    home.mkdir()
    found(load_network(tiny_toml, ["network.development=false"]), Home(home))
    with pytest.raises(taoray.SubmissionRefused) as refused:
        taoray.submit(model, home=home)
    assert refused.value.code == "no_wallet"
    Wallet.create(Home(home).wallets, "ann", password=None)
    with pytest.raises(taoray.SubmissionRefused) as poor:
        taoray.submit(model, home=home, wallet="ann")
    assert poor.value.code == "insufficient_balance"
    made = taoray.submit(model, home=home, wallet="ada", stake_rao=RAO_PER_TAO)
    assert made.wallet == "ada"
    assert [type(call) for call in queued(home)[:2]] == [Register, Publish]
    assert set(seal(home).receipts) == {"ok"}


@pytest.mark.thorough
def test_one_wallet_has_a_hotkey_for_each_of_its_peers(home: Path, model: Path, tmp_path: Path) -> None:
    first = taoray.submit(model, home=home, name="ann", wallet="shared")
    second = taoray.submit(make("opt", tmp_path / "second"), home=home, name="ben", wallet="shared")
    assert first.hotkey != second.hotkey
    assert Wallet.open(Home(home).wallets, "shared").hotkeys() == ["ben", "default"]
    assert set(seal(home).receipts) == {"ok"}
    with pytest.raises(taoray.SubmissionRefused) as taken:
        taoray.submit(make("gpt2", tmp_path / "third"), home=home, name="cat", wallet="shared", hotkey="ben")
    assert taken.value.code == "hotkey_taken"


@pytest.mark.thorough
def test_submissions_at_once_are_all_taken(home: Path, tmp_path: Path) -> None:
    folders = {f"peer-{seed}": make("llama", tmp_path / f"peer-{seed}", seed) for seed in range(3)}
    threads = [
        threading.Thread(target=taoray.submit, args=(folder,), kwargs={"home": home}) for folder in folders.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(call, Transfer) for call in queued(home)) == 3
    assert set(seal(home).receipts) == {"ok"}
    assert {neuron.name for neuron in state(home).neurons()[3:]} == set(folders)


@pytest.mark.thorough
def test_a_withdrawn_peer_stays_and_comes_back(run: Command, home: Path, model: Path, tmp_path: Path) -> None:
    made = taoray.submit(model, home=home, name="ann")
    seal(home)
    done = run("withdraw", "ann", "--home", str(home), "--json")
    gone = json.loads(done.stdout)
    assert (gone["state"], gone["uid"], gone["last_epoch"], gone["hotkey"]) == ("queued", 3, 1, made.hotkey)
    assert taoray.withdraw("ann", home=home).extrinsics == tuple(gone["extrinsics"])
    assert queued(home) == [Withdraw()]
    for _ in range(3):
        assert set(seal(home).receipts) <= {"ok"}
    assert state(home).neurons()[3].manifest is None
    with pytest.raises(taoray.Refusal, match="no_version"):
        taoray.withdraw("ann", home=home)
    with pytest.raises(taoray.SubmissionRefused, match="not_registered"):
        taoray.withdraw("nobody", home=home)
    back = taoray.submit(model, home=home, name="ann")
    assert (back.uid, back.max_price_rao) == (3, None)
    for _ in range(3):
        seal(home)
    assert state(home).neurons()[3].manifest == bytes.fromhex(made.manifest)


@pytest.mark.thorough
def test_prices_count_what_waits_and_a_risen_price_is_refused(home: Path, model: Path) -> None:
    door = HomeDoor(Home(home))
    rich = Wallet.open(Home(home).wallets, OPERATOR)
    for index in range(4):
        hotkey = rich.create_hotkey(f"other-{index}").public
        taoray.send(home, OPERATOR, Register(hotkey=hotkey, name=f"other-{index}", max_price_rao=100 * RAO_PER_TAO))
    price_rao = door.terms().price_rao
    door.close()
    assert price_rao > 2 * RAO_PER_TAO
    with pytest.raises(taoray.Refusal, match="price_too_high"):
        taoray.submit(model, home=home, max_price_rao=price_rao - 1)
    sealing = threading.Thread(target=_seal_when_queued, args=(home, 4 + 3))
    sealing.start()
    made = taoray.submit(model, home=home, max_price_rao=price_rao, wait_s=120)
    sealing.join()
    assert (made.state, made.uid, made.height, made.price_rao) == ("registered", 7, 1, price_rao)
    assert made.immune_until_epoch == 13
    assert not made.final, "nobody signed the block"


@pytest.mark.thorough
def test_what_the_block_refuses_is_an_error(home: Path, model: Path) -> None:
    """Somebody else registers the hotkey between its choice and the block."""
    wallet, _ = Wallet.create(Home(home).wallets, "ann")
    call = Register(hotkey=wallet.hotkey_public(), name="thief", max_price_rao=100 * RAO_PER_TAO)
    taoray.send(home, OPERATOR, call)
    sealing = threading.Thread(target=_seal_when_queued, args=(home, 1 + 3))
    sealing.start()
    with pytest.raises(taoray.Refusal, match="already_registered"):
        taoray.submit(model, home=home, name="ann", wait_s=120)
    sealing.join()


@pytest.mark.thorough
def test_only_whole_models_over_bytes_are_trained(home: Path, model: Path, tmp_path: Path) -> None:
    made = taoray.submit(model, home=home, name="ann", train=True)
    assert made.train
    record = json.loads((Home(home).submissions / "ann.json").read_text())
    assert (record["train"], record["wallet"], record["manifest"]) == (True, "ann", made.manifest)
    (tmp_path / "adapter").mkdir()
    for wrong, options in (("http://127.0.0.1:9", {}), (model, {"network": "http://127.0.0.1:9"})):
        with pytest.raises(taoray.ClusterError):
            taoray.submit(wrong, home=home, name="ben", train=True, **options)
    taoray.withdraw("ann", home=home)
    assert not json.loads((Home(home).submissions / "ann.json").read_text())["train"]


def test_remote_peers_need_a_network_of_next_bytes(home: Path) -> None:
    with pytest.raises(taoray.EndpointRefused) as refused:
        taoray.submit("http://127.0.0.1:9/", home=home, name="far")
    assert refused.value.code == "panel"
    assert queued(home) == []


@pytest.mark.thorough
def test_a_password_is_asked_for_where_the_coldkey_signs(home: Path, model: Path, tmp_path: Path) -> None:
    Wallet.create(Home(home).wallets, "ann", password="open sesame")
    asked: list[str] = []

    def password() -> str:
        asked.append("once")
        return "open sesame"

    with pytest.raises(taoray.LedgerError, match="password"):
        taoray.submit(model, home=home, name="ann")
    taoray.submit(model, home=home, name="ann", password=password)
    assert asked == ["once"]
    seal(home)
    taoray.submit(make("opt", tmp_path / "second"), home=home, name="ann", password=password)
    assert asked == ["once"], "a version is signed by the hotkey"

"""Hostile and broken folders at the door of a network: each is refused, and nothing of it stays anywhere."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from cluster.config import load_network
from cluster.founding import found
from cluster.home import Home
from cluster.home_door import HomeDoor
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool
from ledger.wallet import Wallet, list_wallets
from models.errors import ModelRefused
from tests.models.intake.architectures import make
from tests.models.intake.building import Change
from tests.models.intake.hostile import CONFIGURED, HEADED, LISTED, QUOTAS
from tests.models.intake.speaking import REFUSED

CASES = list((LISTED | CONFIGURED).items()) + list(HEADED.items())


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def door(tiny_toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeDoor]:
    """The door of a network with the quotas of the hostile folders, in which nothing has run."""
    place, network = Home(tmp_path_factory.mktemp("home")), load_network(tiny_toml)
    found(network, place)
    place.resolved.write_bytes(msgspec.json.encode(msgspec.structs.replace(network, submissions=QUOTAS)))
    door = HomeDoor(place)
    yield door
    door.close()


def standing(place: Home) -> tuple[object, ...]:
    """What a submission could change: the chain's head, the queue, wallets, and every file of the store."""
    with Chain.open(place.chain) as chain, closing(Mempool(place.mempool, chain.genesis_hash)) as mempool:
        ledger = chain.head_hash, list(mempool.pending())
    files = sorted(str(path) for path in place.store.rglob("*") if path.is_file() and path.name != "lock")
    return ledger, files, list_wallets(place.wallets), sorted(path.name for path in place.folder.iterdir())


def refused(door: HomeDoor, folder: Path, change: Change) -> ModelRefused:
    """The refusal of a folder that was changed."""
    change(folder)
    payer = Wallet.open(door.home.wallets, "ada").coldkey()
    with pytest.raises(ModelRefused) as refusal:
        door.deliver(folder, payer, lambda done, of: None)
    return refusal.value


def test_a_hundred_folders_leave_nothing(door: HomeDoor, llama: Path, tmp_path: Path) -> None:
    door.store()
    before = standing(door.home)
    for number, (case, (code, change)) in enumerate(CASES):
        refusal = refused(door, Path(shutil.copytree(llama, tmp_path / str(number))), change)
        assert refusal.code == code, case
        assert str(door.home.folder) not in refusal.sentence
        assert standing(door.home) == before, case


@pytest.mark.thorough
def test_what_was_loaded_leaves_nothing(door: HomeDoor, llama: Path, tmp_path: Path) -> None:
    door.store()
    before = standing(door.home)
    code, change = REFUSED["an encoder"]
    refusal = refused(door, Path(shutil.copytree(llama, tmp_path / "model")), change)
    assert refusal.code == code
    assert str(door.home.folder) not in refusal.sentence
    assert standing(door.home) == before

"""A network on this machine: it runs, goes on where it stopped, and its ledger can be derived again."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import taoray
from cluster.home import Home
from ledger.errors import DamagedLedger, LedgerError
from ledger.store.chain import Chain
from models.train.distil import load_teaching
from models.train.settings import TrainSettings

pytestmark = pytest.mark.cluster

EPOCH_RAO = 360 * 10**9


def _command(tiny_toml: Path, home: Path, epochs: int, *more: str) -> list[str]:
    options = ["--epochs", str(epochs), "--home", str(home), *more]
    return [sys.executable, "-m", "cluster", "launch", str(tiny_toml), *options]


def _launch(tiny_toml: Path, home: Path, epochs: int, text: str) -> dict[str, Any]:
    sent = f"storage.exports={(home / 'sent').as_uri()}"
    options = ("--json", "--set", text, "--set", "training.distil_weight=0.5", "--set", sent)
    done = subprocess.run(_command(tiny_toml, home, epochs, *options), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


@pytest.fixture(scope="module")
def lived(tiny_toml: Path, small_text: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home in which three epochs were run, and what the command printed."""
    home = tmp_path_factory.mktemp("lived")
    return home, _launch(tiny_toml, home, 3, small_text)


def test_document_says_what_happened(lived: tuple[Path, dict[str, Any]]) -> None:
    home, document = lived
    assert document["network"] == "tiny"
    assert document["home"] == str(home)
    assert [epoch["epoch"] for epoch in document["epochs"]] == [1, 2, 3]
    assert all(epoch["final"] and epoch["minted_rao"] == EPOCH_RAO for epoch in document["epochs"])
    last = document["epochs"][-1]
    assert (document["height"], document["block_hash"]) == (last["height"], last["block_hash"])
    assert last["collective_bits_per_byte"] < document["epochs"][0]["collective_bits_per_byte"]
    assert last["collective_bits_per_byte"] <= last["best_peer_bits_per_byte"]
    neurons = {neuron["name"]: neuron for neuron in document["neurons"]}
    assert set(neurons) == {"vera", "victor", "viola", "ada", "grace", "still", "echo"}
    assert all(neuron["status"] == "ok" for neuron in neurons.values())
    assert neurons["still"]["incentive"] == neurons["echo"]["incentive"] == 0
    assert neurons["ada"]["incentive"] + neurons["grace"]["incentive"] == pytest.approx(1)
    assert sum(neuron["emission_rao"] for neuron in neurons.values()) == EPOCH_RAO


def test_the_collective_teaches_as_soon_as_it_has_members(lived: tuple[Path, dict[str, Any]]) -> None:
    home, _ = lived
    with Chain.open(Home(home).chain) as chain:
        taught_after = chain.state.globals.previous_close_hash
    lessons = list(Home(home).teaching.glob("*/*"))
    assert {lesson.parent.name for lesson in lessons} == {taught_after.hex()}
    teaching = load_teaching(lessons)
    assert teaching is not None
    assert len(teaching.text_PT) == TrainSettings().distil_pages


def test_money_is_exact(lived: tuple[Path, dict[str, Any]]) -> None:
    home, document = lived
    supply = taoray.status(home).supply
    assert supply.minted_rao == 3 * EPOCH_RAO
    assert supply.burned_rao > 0, "four registrations were paid"
    assert supply.issuance_rao == supply.genesis_rao + supply.minted_rao - supply.burned_rao
    assert supply.issuance_rao == supply.free_rao + supply.pools_rao == document["issuance_rao"]


def test_ledger_can_be_derived_again_and_every_replica_agrees(lived: tuple[Path, dict[str, Any]]) -> None:
    home, document = lived
    verified = taoray.verify(home)
    assert (verified.height, verified.epoch, verified.final_height) == (9, 3, 9)
    assert verified.block_hash.hex() == document["block_hash"]
    for replica in Home(home).validators.glob("*/replica.db"):
        with Chain.open(replica) as chain:
            assert chain.head_hash == verified.block_hash
            assert chain.state.root == verified.state_root


def test_flipped_byte_in_the_database_is_found(lived: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    home, _ = lived
    copy = tmp_path / "ledger" / "chain.db"
    copy.parent.mkdir()
    with sqlite3.connect(Home(home).chain) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    taoray.verify(tmp_path)
    with sqlite3.connect(copy) as database:
        key, value = database.execute("SELECT key, value FROM state ORDER BY key LIMIT 1 OFFSET 5").fetchone()
        broken = bytes([value[0] ^ 1]) + value[1:]
        database.execute("UPDATE state SET value = ? WHERE key = ?", (broken, key))
    with pytest.raises(DamagedLedger) as caught:
        taoray.verify(tmp_path)
    assert caught.value.height == 9


def test_metagraph_of_every_epoch_is_parquet(lived: tuple[Path, dict[str, Any]]) -> None:
    home, document = lived
    files = sorted(Home(home).chain.parent.glob("metagraph/*.parquet"))
    assert len(files) == 3
    rows = pq.read_table(files[-1]).to_pylist()
    assert rows == taoray.metagraph(home).to_pylist()
    assert {row["name"]: row["stake_rao"] for row in rows} == {n["name"]: n["stake_rao"] for n in document["neurons"]}
    sent = sorted((home / "sent" / "metagraph").iterdir())
    assert [path.name for path in sent] == [path.name for path in files]
    assert all(pq.read_table(there).equals(pq.read_table(here)) for there, here in zip(sent, files, strict=True))


def test_transfer_is_queued_and_taken_by_the_next_block(
    lived: tuple[Path, dict[str, Any]], tiny_toml: Path, small_text: str
) -> None:
    home, document = lived
    before = {row["name"]: row["free_rao"] for row in taoray.balances(home)}
    taoray.transfer(home, "operator", "still", 2 * 10**9)
    taoray.transfer(home, "operator", "still", 10**9)
    with pytest.raises(LedgerError):
        taoray.transfer(home, "operator", "nobody", 10**9)
    second = _launch(tiny_toml, home, 1, small_text)
    after = {row["name"]: row["free_rao"] for row in taoray.balances(home)}
    assert after["still"] - before["still"] == before["operator"] - after["operator"] == 3 * 10**9
    assert [epoch["epoch"] for epoch in second["epochs"]] == [4]
    assert second["height"] == document["height"] + 3
    assert taoray.status(home).supply.minted_rao == 4 * EPOCH_RAO

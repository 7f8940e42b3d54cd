"""Pruned bodies are gone; everything else still verifies, is proven, and goes on."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import DamagedLedger, Pruned
from ledger.extrinsics import Transfer
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_path, metagraph_table, write_metagraphs
from ledger.store.proving import prove_account, prove_extrinsic
from ledger.store.pruning import prune
from ledger.store.replay import verify
from ledger.trust.proofs import check_proof
from ledger.units import RAO_PER_TAO, blake2b_256

EPOCHS = 5


@pytest.fixture
def grown(network):
    network.moves = []
    for _ in range(EPOCHS):
        move = network.sign(Transfer(to=network.coldkeys[0].public, amount_rao=RAO_PER_TAO), network.treasury)
        network.moves.append(move)
        network.run_epoch([move])
    return network


def _file_of(chain: Chain) -> Path:
    chain.close()
    return chain.path


def test_a_pruned_ledger_verifies_from_its_snapshot_and_goes_on(grown):
    chain = grown.chain
    whole, heights = verify(chain.path), list(range(chain.head.height + 1))
    assert whole.replayed_from == 0
    assert prune(chain, 2) == 3 * (EPOCHS - 2)
    pruned = verify(chain.path)
    assert pruned.replayed_from == 9
    for field in set(pruned.__struct_fields__) - {"replayed_from"}:
        assert getattr(pruned, field) == getattr(whole, field)
    for height in heights[: 9 + 1]:
        assert chain.header(height).height == height
        with pytest.raises(Pruned, match=f"block {height}"):
            chain.block(height)
    assert [block.height for block in chain.blocks(10)] == heights[10:]
    grown.run_epoch()
    assert prune(chain, 2) == 12
    assert prune(chain, 5) == 12
    verify(chain.path)
    with Chain.open(_file_of(chain)) as reader:
        assert reader.final_height == reader.head.height


def test_what_is_not_final_is_not_pruned(network):
    network.run_epoch()
    for kind in ("open", "commit", "close", "open", "commit", "close"):
        network.seal(kind)
    assert prune(network.chain, 1) == 3
    with pytest.raises(ValueError, match="at least one"):
        prune(network.chain, 0)


def test_every_extrinsic_and_account_is_still_proven(grown):
    chain = grown.chain
    prune(chain, 1)
    for number, move in enumerate(grown.moves, start=1):
        proof = prove_extrinsic(chain, blake2b_256(move))
        assert (proof.extrinsic is None) == (number < EPOCHS)
        assert check_proof(proof, final=True).epoch == number
        assert chain.receipt(blake2b_256(move)).code == "ok"
    assert check_proof(prove_account(chain, grown.treasury.public), final=True)


def test_the_metagraph_of_every_past_epoch_is_there(grown):
    chain = grown.chain
    before = {epoch: metagraph_table(chain, epoch) for epoch in range(1, EPOCHS + 1)}
    prune(chain, 1)
    assert not metagraph_path(chain.path, 1).exists()
    for epoch, table in before.items():
        assert metagraph_table(chain, epoch).equals(table)
    write_metagraphs(chain)
    shutil.rmtree(metagraph_path(chain.path, 1).parent)
    assert all(metagraph_table(chain, epoch).equals(table) for epoch, table in before.items())


CHANGES = [
    ("UPDATE snapshot SET value = zeroblob(length(value)) WHERE key = (SELECT max(key) FROM snapshot)", "height 9"),
    ("DELETE FROM snapshot WHERE key = (SELECT min(key) FROM snapshot)", "height 9"),
    ("UPDATE meta SET value = 6 WHERE name = CAST('pruned' AS BLOB)", "height"),
    ("UPDATE meta SET value = 12 WHERE name = CAST('pruned' AS BLOB)", "height 12"),
    ("DELETE FROM meta WHERE name = CAST('pruned' AS BLOB)", "height 0"),
    ("UPDATE blocks SET hashes = CAST(substr(hashes, 33) AS BLOB) WHERE height = 4", "height 4"),
    ("UPDATE blocks SET signature = zeroblob(64) WHERE height = 5", "height 5"),
    ("UPDATE blocks SET receipts = (SELECT receipts FROM blocks WHERE height = 0) WHERE height = 4", "height 4"),
    ("UPDATE finality SET members = (SELECT members FROM finality WHERE epoch = 1) WHERE epoch = 3", "height 6"),
    ("UPDATE metagraphs SET parquet = zeroblob(10) WHERE epoch = 2", "height 0"),
    ("DELETE FROM votes WHERE height = 9", "height"),
    ("INSERT INTO bodies SELECT 3, extrinsics FROM bodies LIMIT 1", "height 10"),
    ("DELETE FROM bodies WHERE height = 11", "height 11"),
]


def test_changes_before_and_in_the_snapshot_are_found(grown, tmp_path):
    prune(grown.chain, 2)
    path = _file_of(grown.chain)
    copy = tmp_path / "copy.sqlite"
    for change, where in CHANGES:
        shutil.copy(path, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            assert database.execute(change).rowcount > 0, change
        if change.startswith("DELETE FROM votes"):
            shutil.copy(path.with_name(path.name + ".head"), copy.with_name(copy.name + ".head"))
            assert verify(copy).final_height == verify(path).final_height
            continue
        with pytest.raises(DamagedLedger, match=where):
            verify(copy)

"""An export is read as it is, and makes the same ledger again; a changed one makes none."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.errors import DamagedLedger, StoreError
from ledger.extrinsics import Transfer
from ledger.store.archive import export_chain, import_chain
from ledger.store.metagraph import metagraph_table
from ledger.store.pruning import prune
from ledger.store.replay import verify
from ledger.units import RAO_PER_TAO, blake2b_256

MORE_RAO = 10**15


@pytest.fixture
def grown(network):
    to = network.coldkeys[0].public
    network.run_epoch([network.sign(Transfer(to=to, amount_rao=RAO_PER_TAO), network.treasury)])
    network.run_epoch([network.sign(Transfer(to=to, amount_rao=MORE_RAO), network.treasury)])
    network.seal("open")
    return network


def test_the_columns_say_what_the_chain_says(grown, tmp_path):
    chain, folder = grown.chain, tmp_path / "export"
    rows = export_chain(chain, folder)
    blocks, extrinsics, metagraph = (
        pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("blocks", "extrinsics", "metagraph")
    )
    assert rows == {"blocks": 8, "extrinsics": len(extrinsics), "metagraph": len(metagraph)}
    for block, row in zip(chain.blocks(0), blocks, strict=True):
        assert (row["hash"], row["parent"]) == (block.hash.hex(), block.header.parent.hex())
        assert (row["kind"], row["epoch"]) == (block.header.kind, block.header.epoch)
        assert row["final"] == chain.is_final(block.height)
        assert (row["extrinsics"], row["votes"]) == (len(block.extrinsics), len(chain.votes(block.height)))
        own = [row for row in extrinsics if row["height"] == block.height]
        assert [row["hash"] for row in own] == [blake2b_256(data).hex() for data in block.extrinsics]
        assert [row["receipt"] for row in own] == list(block.receipts)
    moves = [row for row in extrinsics if row["call"] == "transfer"]
    assert [row["amount_rao"] for row in moves] == [RAO_PER_TAO, MORE_RAO]
    assert json.loads(moves[0]["fields"])["to"] == grown.coldkeys[0].public.hex()
    assert moves[0]["signer"] == grown.treasury.address
    assert metagraph == [row for epoch in (1, 2) for row in metagraph_table(chain, epoch).to_pylist()]
    for text in pq.read_schema(folder / "blocks.parquet").metadata.values():
        assert text.decode(), "Polars reads metadata as text"
    with pytest.raises(StoreError, match="something here"):
        export_chain(chain, folder)


def test_an_import_is_the_same_ledger(grown, tmp_path):
    export_chain(grown.chain, tmp_path / "export")
    path = tmp_path / "new" / "chain.db"
    with import_chain(tmp_path / "export", path) as chain:
        assert chain.head_hash == grown.chain.head_hash
        assert chain.final_height == grown.chain.final_height
        assert metagraph_table(chain, 1).equals(metagraph_table(grown.chain, 1))
    assert verify(path) == verify(grown.chain.path)
    assert not list(path.parent.glob("*.import*"))
    with pytest.raises(StoreError, match="already"):
        import_chain(tmp_path / "export", path)


def _rewrite(path, column, index, value):
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    values[index] = value(values[index])
    at = table.schema.get_field_index(column)
    changed = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    pq.write_table(changed, path)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "column", "index", "value"),
    [
        ("blocks", "header", 3, _flip),
        ("blocks", "header", 3, lambda data: b"nonsense"),
        ("blocks", "signature", 2, _flip),
        ("blocks", "signed_votes", 4, lambda votes: [_flip(votes[0]), *votes[1:]]),
        ("blocks", "height", 5, lambda height: 50),
        ("extrinsics", "encoded", 2, _flip),
        ("extrinsics", "receipt", 2, lambda code: "no_permit"),
        ("extrinsics", "height", -1, lambda height: 70),
    ],
)
def test_a_changed_export_makes_no_ledger(grown, tmp_path, name, column, index, value):
    folder, path = tmp_path / "export", tmp_path / "new" / "chain.db"
    export_chain(grown.chain, folder)
    _rewrite(folder / f"{name}.parquet", column, index, value)
    with pytest.raises(DamagedLedger):
        import_chain(folder, path)
    assert not any(path.parent.iterdir())


def test_an_export_of_a_pruned_ledger_is_for_reading(grown, tmp_path):
    prune(grown.chain, 1)
    export_chain(grown.chain, tmp_path / "export")
    extrinsics = pq.read_table(tmp_path / "export" / "extrinsics.parquet").to_pylist()
    assert {row["epoch"] for row in extrinsics if row["encoded"] is None} == {1}
    assert {row["receipt"] for row in extrinsics if row["epoch"] == 1} == {"ok"}
    assert pq.read_table(tmp_path / "export" / "metagraph.parquet").num_rows == 22
    with pytest.raises(StoreError, match="pruned"):
        import_chain(tmp_path / "export", tmp_path / "new" / "chain.db")
    for nothing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StoreError, match="no export"):
            import_chain(nothing, tmp_path / "new" / "chain.db")

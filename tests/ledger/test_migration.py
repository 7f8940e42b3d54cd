"""A file of an older format is brought to this one and verifies; a newer or a damaged one is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from ledger.blocks import Block
from ledger.entries import FinalitySet
from ledger.errors import DamagedLedger, StoreError
from ledger.store.chain import Chain
from ledger.store.database import FORMAT
from ledger.store.replay import verify

FORMAT_1 = (
    "CREATE TABLE meta (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blocks (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, block BLOB NOT NULL)",
    "CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE finality (epoch INTEGER PRIMARY KEY, members BLOB NOT NULL)",
    "CREATE TABLE votes (height INTEGER NOT NULL, hotkey BLOB NOT NULL, vote BLOB NOT NULL,"
    " PRIMARY KEY (height, hotkey)) WITHOUT ROWID",
)


def write_format_1(chain: Chain, path: Path, blocks: list[Block]) -> None:
    """The file that format 1 had of this chain."""
    path.parent.mkdir()
    tables = {table: chain.database.query(f"SELECT * FROM {table}") for table in ("meta", "state", "votes")}
    with closing(sqlite3.connect(path)) as database, database:
        for statement in FORMAT_1:
            database.execute(statement)
        for table, rows in tables.items():
            for row in rows:
                database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        for block in blocks:
            values = (block.height, block.hash, msgspec.msgpack.encode(block))
            database.execute("INSERT INTO blocks VALUES (?, ?, ?)", values)
        for epoch in range(chain.head.epoch + 2):
            members = chain.database.query("SELECT members FROM finality WHERE epoch = ?", (epoch,))[0][0]
            assert msgspec.msgpack.decode(members, type=FinalitySet).members
            database.execute("INSERT INTO finality VALUES (?, ?)", (epoch, members))
        database.execute("PRAGMA user_version = 1")


@pytest.fixture
def grown(network):
    network.run_epoch()
    network.run_epoch()
    return network


def test_a_file_of_format_1_opens_to_write_as_this_format_and_verifies(grown, tmp_path):
    path = tmp_path / "old" / "chain.db"
    write_format_1(grown.chain, path, list(grown.chain.blocks(0)))
    for read in (Chain.open, verify):
        with pytest.raises(StoreError, match=r"format 1, this version reads 2.*ledger migrate"):
            read(path)
    with Chain.open(path, write=True) as chain:
        assert chain.database.format() == FORMAT
        assert (chain.head_hash, chain.final_height) == (grown.chain.head_hash, grown.chain.final_height)
        assert list(chain.blocks(0)) == list(grown.chain.blocks(0))
    grown.chain.close()
    assert verify(path) == verify(grown.chain.path)
    with closing(sqlite3.connect(path)) as migrated, closing(sqlite3.connect(grown.chain.path)) as made:
        for table in ("blocks", "bodies", "state", "finality", "votes", "snapshot", "metagraphs"):
            assert list(migrated.execute(f"SELECT * FROM {table}")) == list(made.execute(f"SELECT * FROM {table}"))


def test_a_damaged_file_is_not_carried_over_and_stays_as_it_was(grown, tmp_path):
    path = tmp_path / "old" / "chain.db"
    blocks = list(grown.chain.blocks(0))
    blocks[3] = replace(blocks[3], receipts=(*blocks[3].receipts[:-1], "no_permit"))
    write_format_1(grown.chain, path, blocks)
    with pytest.raises(DamagedLedger, match="height 3"):
        Chain.open(path, write=True)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM blocks").fetchone() == (len(blocks),)


def test_a_newer_format_is_refused(grown):
    grown.chain.close()
    with closing(sqlite3.connect(grown.chain.path)) as database, database:
        database.execute("PRAGMA user_version = 99")
    for write in (False, True):
        with pytest.raises(StoreError, match="format 99"):
            Chain.open(grown.chain.path, write=write)

"""Whatever byte of what is stored flips, `verify` says so and names a height."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.errors import DamagedLedger
from ledger.extrinsics import Transfer
from ledger.store.chain import Chain
from ledger.store.database import Database
from ledger.store.mark import Mark, check_head, write_mark
from ledger.store.replay import Verified, verify
from ledger.units import RAO_PER_TAO

pytestmark = pytest.mark.thorough

BYTES = [
    ("blocks", "hash"),
    ("blocks", "header"),
    ("blocks", "hashes"),
    ("blocks", "receipts"),
    ("blocks", "signature"),
    ("bodies", "extrinsics"),
    ("state", "key"),
    ("state", "value"),
    ("votes", "hotkey"),
    ("votes", "vote"),
    ("finality", "members"),
    ("finality", "way"),
]
NUMBERS = [("blocks", "height"), ("bodies", "height"), ("votes", "height"), ("finality", "epoch")]
SAMPLES = 10


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, network_class: type) -> Path:
    """A small closed chain of one epoch with votes, in one file without a log."""
    network = network_class(tmp_path_factory.mktemp("stored") / "chain.sqlite", validators=3, peers=2)
    network.run_epoch([network.sign(Transfer(to=bytes(32), amount_rao=RAO_PER_TAO), network.treasury)])
    network.vote_all(network.seal("open").height)
    network.chain.close()
    return network.chain.path


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(stored, tmp_path / "chain.sqlite"))


def _flip(value: bytes, position: int, bit: int) -> bytes:
    return value[:position] + bytes([value[position] ^ 1 << bit]) + value[position + 1 :]


def _rows(path: Path, table: str, column: str) -> list[tuple[bytes | int, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {column}, * FROM {table}").fetchall()


def _overwrite(path: Path, table: str, column: str, row: tuple[bytes | int, ...], value: bytes | int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = [name[1] for name in connection.execute(f"PRAGMA table_info({table})")]
        where = " AND ".join(f"{name} = ?" for name in names)
        changed = connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *row[1:]))
        assert changed.rowcount == 1


def _assert_found(path: Path) -> None:
    with pytest.raises(DamagedLedger) as damage:
        verify(path)
    assert damage.value.height is not None
    assert 0 <= damage.value.height <= 4
    assert f"height {damage.value.height}" in str(damage.value)


@pytest.mark.parametrize(("table", "column"), BYTES)
def test_a_flipped_byte_is_found(copy: Path, table: str, column: str) -> None:
    random_source = random.Random(f"{table}.{column}")
    for _ in range(SAMPLES):
        row = random_source.choice([row for row in _rows(copy, table, column) if row[0]])
        flipped = _flip(row[0], random_source.randrange(len(row[0])), random_source.randrange(8))
        _overwrite(copy, table, column, row, flipped)
        _assert_found(copy)
        restored = tuple(flipped if part == row[0] else part for part in row)
        _overwrite(copy, table, column, restored, row[0])
    verify(copy)


@pytest.mark.parametrize(("table", "column"), NUMBERS)
def test_a_changed_number_is_found(copy: Path, stored: Path, table: str, column: str) -> None:
    for row in _rows(stored, table, column)[:6]:
        for bit in (4, 20, 40):
            shutil.copy(stored, copy)
            _overwrite(copy, table, column, row, row[0] ^ 1 << bit)
            _assert_found(copy)


@pytest.mark.parametrize("table", ["blocks", "bodies", "state", "finality"])
def test_a_missing_or_retyped_row_is_found(copy: Path, stored: Path, table: str) -> None:
    names = {"blocks": "header", "bodies": "extrinsics", "state": "value", "finality": "members"}
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {names[table]} = 'text'", f"DROP TABLE {table}"):
        shutil.copy(stored, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute(change)
        _assert_found(copy)


def test_the_last_block_with_its_votes_cannot_be_cut_off_unnoticed(copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("DELETE FROM blocks WHERE height = 4")
        connection.execute("DELETE FROM votes WHERE height = 4")
    _assert_found(copy)


def test_a_changed_genesis_is_found(copy: Path) -> None:
    rows = [row for row in _rows(copy, "meta", "value") if row[1] == b"genesis"]
    for position in range(0, len(rows[0][0]), 150):
        _overwrite(copy, "meta", "value", rows[0], _flip(rows[0][0], position, 0))
        _assert_found(copy)
        _overwrite(copy, "meta", "value", (0, b"genesis", _flip(rows[0][0], position, 0)), rows[0][0])


def _raw_flips(size: int) -> Iterator[tuple[int, int]]:
    random_source = random.Random(7)
    for _ in range(60):
        yield random_source.randrange(100, size), random_source.randrange(8)


def test_a_flip_anywhere_in_the_file_is_found_or_in_unused_space(copy: Path, stored: Path) -> None:
    whole: Verified = verify(stored)
    content = stored.read_bytes()
    heights = []
    for position, bit in _raw_flips(len(content)):
        copy.write_bytes(_flip(content, position, bit))
        try:
            assert verify(copy) == whole
        except DamagedLedger as damage:
            heights.append(damage.height)
    assert len(heights) > 10
    assert None not in heights


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, network_class: type) -> Path:
    """What kill -9 leaves of a chain of one closed epoch: all of it is still in the write-ahead log."""
    network = network_class(tmp_path_factory.mktemp("running") / "chain.sqlite", validators=3, peers=2)
    network.run_epoch()
    folder = tmp_path_factory.mktemp("killed")
    for name in ("chain.sqlite", "chain.sqlite-wal", "chain.sqlite.head"):
        shutil.copy(network.chain.path.with_name(name), folder)
    network.chain.close()
    return folder / "chain.sqlite"


def _damaged_logs(log: bytes) -> Iterator[bytes]:
    random_source = random.Random(11)
    for _ in range(8):
        yield _flip(log, random_source.randrange(len(log)), random_source.randrange(8))
        yield log[: random_source.randrange(len(log))]
    yield b""


def test_a_damaged_or_shortened_log_is_found(killed: Path, tmp_path: Path) -> None:
    log = killed.with_name("chain.sqlite-wal").read_bytes()
    for number, damaged in enumerate(_damaged_logs(log)):
        path = shutil.copytree(killed.parent, tmp_path / str(number)) / "chain.sqlite"
        path.with_name("chain.sqlite-wal").write_bytes(damaged)
        _assert_found(path)
        with pytest.raises(DamagedLedger, match=r"remove chain\.sqlite\.head"):
            Chain.open(path, write=True)


def test_a_promise_that_was_cut_off_is_found(killed: Path, tmp_path: Path) -> None:
    path = shutil.copytree(killed.parent, tmp_path / "left") / "chain.sqlite"
    log = path.with_name("chain.sqlite-wal")
    with Chain.open(path, write=True) as chain:
        before = log.read_bytes()
        chain.set_term(7, None)
        promised = path.with_name("chain.sqlite.head").read_bytes()
    shutil.copy(killed, path)
    log.write_bytes(before)
    path.with_name("chain.sqlite.head").write_bytes(promised)
    with pytest.raises(DamagedLedger, match="term 7 was promised"):
        Chain.open(path, write=True)


def test_a_head_that_was_taken_back_meanwhile_is_no_damage(copy: Path) -> None:
    database = Database(copy, write=False)
    mark = Mark(height=9, block_hash="0" * 64, head_votes=0, final_height=0, term=0)
    write_mark(copy, mark)
    with pytest.raises(DamagedLedger, match="height 5"):
        check_head(mark, database, 4)
    write_mark(copy, replace(mark, height=4))
    check_head(mark, database, 4)
    database.close()


def test_a_whole_log_is_read_and_without_its_mark_a_short_one_too(killed: Path, tmp_path: Path) -> None:
    path = shutil.copytree(killed.parent, tmp_path / "left") / "chain.sqlite"
    assert verify(path).final_height == 3
    path.with_name("chain.sqlite-wal").unlink()
    path.with_name("chain.sqlite.head").write_bytes(b"{")
    with Chain.open(path, write=True) as chain:
        assert chain.head.height < 3


def test_a_chain_where_an_older_one_was_removed_reads_nothing_of_its_log(
    killed: Path, tmp_path: Path, network_class: type
) -> None:
    for name in ("chain.sqlite-wal", "chain.sqlite.head"):
        shutil.copy(killed.with_name(name), tmp_path)
    network = network_class(tmp_path / "chain.sqlite", validators=2, peers=1)
    network.run_epoch()
    network.chain.close()
    assert verify(network.chain.path).height == 3


def test_opening_a_chain_whose_state_rows_changed_is_refused(copy: Path) -> None:
    row = next(row for row in _rows(copy, "state", "value") if row[1][:1] == b"a")
    _overwrite(copy, "state", "value", row, _flip(row[0], len(row[0]) - 1, 0))
    with pytest.raises(DamagedLedger):
        Chain.open(copy)
    with pytest.raises(DamagedLedger):
        Chain.open(copy, write=True)
    copy.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(DamagedLedger, match="height 0"):
        verify(copy)

"""A disk that is full, a file that is locked, cut off or overwritten: a clear error, and what was final is readable."""

import random
import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ledger.errors import DamagedLedger, StoreError
from ledger.extrinsics import Transfer
from ledger.store import database as database_module
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool
from ledger.store.pruning import prune
from ledger.store.replay import verify
from ledger.units import RAO_PER_TAO

pytestmark = pytest.mark.thorough


@contextmanager
def files_limited_to(size_bytes: int):
    """No file of this process grows beyond this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _moves(network, count):
    to = network.coldkeys[0].public
    return [network.sign(Transfer(to=to, amount_rao=RAO_PER_TAO // 100), network.treasury) for _ in range(count)]


def _log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def _assert_readable(path: Path, chain: Chain) -> None:
    with Chain.open(path) as reader:
        assert (reader.head_hash, reader.final_height) == (chain.head_hash, chain.final_height)
        assert [block.height for block in reader.blocks(0)] == list(range(chain.head.height + 1))


@pytest.mark.parametrize("room_bytes", [0, 4096, 20_000])
def test_a_full_disk_stops_the_writer_and_nobody_else(network, room_bytes):
    network.run_epoch()
    chain, root = network.chain, network.chain.state.root
    moves = _moves(network, 400)
    with files_limited_to(_log_bytes(chain.path) + room_bytes):
        for _ in range(3):
            with pytest.raises(StoreError, match="free disk space"):
                chain.build("open", moves, term=0, keypair=network.keeper)
        assert (chain.head.height, chain.state.root, chain.state.mark()) == (3, root, 0)
        _assert_readable(chain.path, chain)
        verify(chain.path)
    assert network.vote_all(chain.build("open", moves, term=0, keypair=network.keeper).height)
    verify(chain.path)


def test_a_full_disk_fails_votes_pruning_and_submissions_cleanly(network, tmp_path):
    network.run_epoch()
    network.run_epoch()
    chain = network.chain
    network.seal("open")
    with files_limited_to(_log_bytes(chain.path)):
        with pytest.raises(StoreError, match="free disk space"):
            network.vote_all(7)
        with pytest.raises(StoreError, match="free disk space"):
            prune(chain, 1)
        assert (chain.final_height, chain.pruned_height) == (6, 0)
    assert network.vote_all(7)
    assert prune(chain, 1) == 3
    assert verify(chain.path).final_height == 7
    with closing(Mempool(tmp_path / "mempool.db", chain.genesis_hash)) as mempool:
        kept = mempool.submit(_moves(network, 1)[0])
        with files_limited_to(_log_bytes(tmp_path / "mempool.db")), pytest.raises(StoreError, match="free disk space"):
            mempool.submit(_moves(network, 1)[0])
        assert kept
        assert len(mempool.pending()) == 1


def test_a_database_that_no_page_can_be_added_to_says_so(network):
    chain = network.chain
    network.run_epoch()
    pages = chain.database.query("PRAGMA page_count")[0][0]
    chain.database.query(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="SQLITE_FULL"):
        chain.build("open", _moves(network, 400), term=0, keypair=network.keeper)
    _assert_readable(chain.path, chain)
    chain.database.query("PRAGMA max_page_count = 1000000")
    network.run_epoch()
    verify(chain.path)


def test_a_lock_that_stays_is_named_and_readers_go_on(network, monkeypatch):
    network.run_epoch()
    chain = network.chain
    chain.database.query("PRAGMA busy_timeout = 50")
    monkeypatch.setattr(database_module, "_BUSY_S", 0.05)
    with closing(sqlite3.connect(chain.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked.*stop who locks the file"):
            network.seal("open")
        _assert_readable(chain.path, chain)
        other.execute("ROLLBACK")
    network.seal("open")
    chain.close()
    with closing(sqlite3.connect(chain.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for write in (False, True):
            with pytest.raises(StoreError, match="locked"):
                Chain.open(chain.path, write=write)
    verify(chain.path)


def _copy(path: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in (path.name, path.name + ".head"):
        shutil.copy(path.with_name(name), folder / name)
    return folder / path.name


def test_a_file_that_was_cut_off_or_overwritten_is_refused_and_a_replica_has_what_was_final(network, tmp_path):
    network.run_epoch()
    network.run_epoch()
    path, final_height = network.chain.path, network.chain.final_height
    with Chain.create(tmp_path / "replica" / "chain.db", network.genesis) as replica:
        for block in network.chain.blocks(1):
            replica.append(block)
            replica.add_votes(block.height, network.chain.votes(block.height))
    network.chain.close()
    content, chance = path.read_bytes(), random.Random(3)
    for number in range(24):
        copy = _copy(path, tmp_path / f"copy {number}")
        if number % 2:
            copy.write_bytes(content[: chance.randrange(len(content) - 4096)])
        else:
            at = chance.randrange(0, len(content) // 2)
            copy.write_bytes(content[:at] + chance.randbytes(len(content) // 2) + content[at + len(content) // 2 :])
        with pytest.raises((DamagedLedger, StoreError)) as found:
            verify(copy)
        assert str(copy) in str(found.value) or "height" in str(found.value)
    with Chain.open(tmp_path / "replica" / "chain.db") as replica:
        assert replica.final_height == final_height
        assert len(list(replica.blocks(0))) == final_height + 1

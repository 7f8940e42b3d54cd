"""Power loss, modelled: what was synced is there, of what was not any part may be. The ledger comes back at the block
before or the block after, whole.

How: the database and its log are copied after every commit, which SQLite has synced by then (synchronous = FULL). A
crash between two commits leaves the older copy with any sectors of the newer one: first of the log, while the database
is untouched; then, with the log whole, of the database, while the log is written back into it. Both by chance.

What it shows: that the ledger's transactions and SQLite's recovery give one of the two blocks whatever became of
unsynced sectors. What it does not: that the calls to sync are made where the model assumes them (strace shows them
there: log, sync, acknowledgement; sync, database, sync when it is written back; header, sync when the log begins
again), or that the disk keeps what it says it has synced.
"""

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.extrinsics import Transfer
from ledger.store.chain import Chain
from ledger.store.mark import mark_path
from ledger.store.replay import verify
from ledger.units import RAO_PER_TAO

pytestmark = pytest.mark.thorough

SECTOR = 512
LOG_HEADER = 32
"""Bytes that SQLite syncs by themselves, before any frame, when it begins to write its log from the start again."""
BLOCKS = 12
CRASHES = 6
"""Of each kind after each block."""


class Disk(NamedTuple):
    """What was on the disk after a commit; the mark beside the ledger is not synced, so an older one may be there."""

    head: bytes
    database: bytes
    log: bytes
    mark: bytes


@pytest.fixture
def disks(network) -> list[Disk]:
    chain = network.chain
    assert chain.database.query("PRAGMA synchronous") == [(2,)]
    assert chain.database.query("PRAGMA journal_mode") == [(b"wal",)]
    chain.database.query("PRAGMA wal_autocheckpoint = 24")
    log = chain.path.with_name(chain.path.name + "-wal")
    taken = []
    for turn in range(BLOCKS):
        moves = [
            network.sign(Transfer(to=key.public, amount_rao=RAO_PER_TAO // 1000), network.treasury)
            for key in network.hotkeys[: 1 + turn % 5]
        ]
        network.seal(("open", "commit", "close")[turn % 3], moves)
        parts = (chain.path.read_bytes(), log.read_bytes(), mark_path(chain.path).read_bytes())
        taken.append(Disk(chain.head_hash, *parts))
    assert len({disk.database for disk in taken}) > 2, "the log was never written back"
    return taken


def tear(before: bytes, after: bytes, chance: random.Random) -> bytes:
    """The older bytes with some sectors of the newer ones, and of a length between theirs."""
    share = chance.choice((0.05, 0.5, 0.95))
    torn = bytearray(before.ljust(len(after), b"\0"))
    for at in range(0, len(after), SECTOR):
        if chance.random() < share:
            torn[at : at + SECTOR] = after[at : at + SECTOR]
    return bytes(torn[: chance.choice((len(before), len(torn), chance.randint(len(before), len(torn))))])


def crashes(before: Disk, after: Disk, chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Database and log as power losses between the two commits leave them."""
    yield before.database, after.log[:LOG_HEADER] + before.log[LOG_HEADER:]
    for _ in range(CRASHES):
        yield before.database, after.log[:LOG_HEADER] + tear(before.log, after.log, chance)[LOG_HEADER:]
        yield tear(before.database, after.database, chance), after.log


def test_whatever_unsynced_sectors_are_lost_a_whole_block_is_the_head(disks: list[Disk], tmp_path: Path) -> None:
    chance = random.Random(5)
    heads = {"before": 0, "after": 0}
    place = tmp_path / "crashed"
    for before, after in pairwise(disks):
        for number, (database, log) in enumerate(crashes(before, after, chance)):
            folder = place / f"{after.head.hex()[:8]} {number}"
            folder.mkdir(parents=True)
            path = folder / "chain.db"
            path.write_bytes(database)
            path.with_name("chain.db-wal").write_bytes(log)
            mark_path(path).write_bytes(before.mark)
            with Chain.open(path, write=True) as chain:
                head = chain.head_hash
                assert head in (before.head, after.head)
            heads["after" if head == after.head else "before"] += 1
            assert verify(path).block_hash == head
    assert all(heads.values()), heads

"""Whoever watches a chaos run finds what would be wrong, and nothing else."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos_observer import (
    Observer,
    check_disks,
    money_faults,
    supply_mismatches,
    unaccounted,
    unrecorded,
)
from cluster.home import Home
from cluster.report import Seconds, append_epoch, epoch_record
from ledger.blocks import Kind
from ledger.extrinsics import Call, Publish, Transfer, encode_extrinsic, sign_extrinsic
from ledger.genesis import Genesis, GenesisNeuron
from ledger.keys import Keypair
from ledger.store.chain import Chain
from ledger.trust.finality import sign_vote

KEEPER = Keypair.from_seed(hashlib.sha256(b"keeper").digest())
VALIDATORS = [Keypair.from_seed(hashlib.sha256(b"validator %d" % index).digest()) for index in range(3)]
GENESIS = Genesis(
    network="watched",
    keeper=KEEPER.public,
    development=True,
    stakes=tuple((key.public, KEEPER.public, 10**12) for key in VALIDATORS),
    neurons=tuple(
        GenesisNeuron(hotkey=key.public, coldkey=KEEPER.public, name=f"v{index}", permit=True)
        for index, key in enumerate(VALIDATORS)
    ),
)


@dataclass(frozen=True)
class Ledger:
    """A chain whose keeper and validators are this test."""

    chain: Chain

    def seal(self, kind: Kind, *calls: Call, voters: Sequence[Keypair] = VALIDATORS) -> None:
        """Build and sign a block with calls of the first validator."""
        nonce = self.chain.state.nonce(VALIDATORS[0].public)
        extrinsics = [
            encode_extrinsic(
                sign_extrinsic(call, VALIDATORS[0], genesis_hash=GENESIS.hash, nonce=nonce + index, valid_until=99)
            )
            for index, call in enumerate(calls, start=1)
        ]
        self.chain.build(kind, extrinsics, term=self.chain.term, keypair=KEEPER)
        self.chain.add_votes(self.chain.head.height, [sign_vote(self.chain.head, key, GENESIS.hash) for key in voters])


def _ledger(path: Path) -> Ledger:
    return Ledger(Chain.create(path, GENESIS))


def test_a_sound_history_has_no_faults(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ledger, observer = _ledger(home.chain), Observer(lambda: [home.chain])
    assert observer.look() == 0
    for height, kind in enumerate(("open", "commit", "close"), start=1):
        ledger.seal(kind)
        assert observer.look() == height
    assert supply_mismatches(ledger.chain) == observer.faults == observer.lost(home) == []
    assert list(check_disks([home.chain], observer.final)) == unaccounted(home) == []


def test_votes_on_several_disks_count_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "chain.db", tmp_path / "b" / "chain.db"
    ledger = _ledger(first)
    ledger.seal("open", voters=VALIDATORS[:2])
    shutil.copytree(first.parent, second.parent)
    observer = Observer(lambda: [first, second])
    assert observer.look() == 0, "two of three are not more than two thirds"
    with Chain.open(second, write=True) as chain:
        chain.add_votes(1, [sign_vote(chain.head, VALIDATORS[2], GENESIS.hash)])
    assert observer.look() == 1


def test_a_second_history_is_found(tmp_path: Path) -> None:
    home, other = Home(tmp_path / "home"), tmp_path / "other" / "chain.db"
    _ledger(home.chain).seal("open")
    _ledger(other).seal("open", Transfer(to=KEEPER.public, amount_rao=1))
    observer = Observer(lambda: [other, home.chain])
    observer.look()
    doubled = [sentence for sentence in observer.faults if sentence.startswith("doubled: ")]
    assert len(doubled) == len(observer.faults) == 4, "each key's second vote, and the second final block"
    assert len(observer.lost(home)) == 1
    assert len(list(check_disks([home.chain], observer.final))) == 1


def test_a_block_that_is_gone_is_found(tmp_path: Path) -> None:
    home, disk = Home(tmp_path / "home"), tmp_path / "disk" / "chain.db"
    _ledger(home.chain)
    _ledger(disk).seal("open")
    observer = Observer(lambda: [disk, home.chain])
    observer.look()
    shutil.rmtree(disk.parent)
    observer.look()
    assert len(observer.lost(home)) == 1
    assert observer.faults == []


def test_a_version_without_an_answer_and_an_epoch_without_a_record_are_found(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ledger = _ledger(home.chain)
    ledger.seal("open", Publish(manifest=bytes(range(32))))
    assert unaccounted(home) == unrecorded(home) == [], "the epoch is not closed"
    ledger.seal("commit")
    ledger.seal("close")
    assert len(unaccounted(home)) == len(unrecorded(home)) == 1
    seconds = Seconds(query=0, value=0, train=0, close=0)
    record = epoch_record(
        epoch=1, height=3, block_hash=b"", minted_rao=0, final=True, seconds=seconds, findings={}, neurons=()
    )
    append_epoch(home.epochs, record)
    assert (len(unaccounted(home)), unrecorded(home)) == (1, [])


def test_sums_that_do_not_add_up_are_found(tmp_path: Path) -> None:
    supply = _ledger(tmp_path / "chain.db").chain.state.supply()
    assert money_faults(supply, 0) == []
    assert len(money_faults(supply, 1)) == 1
    assert len(money_faults(supply._replace(free_rao=supply.free_rao + 1), 0)) == 1
    assert len(money_faults(supply._replace(minted_rao=1), 0)) == 2

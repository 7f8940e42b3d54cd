"""Who watches a network's ledgers on all disks, takes part in nothing, and believes only signatures and replays.

What is found wrong, and counted:

* **lost**: a block that was final on some disk is not on the ledger in the home at the end;
* **doubled**: two blocks of one height that are both final, on any disks at any time, or have votes of more than 2/3 of
  the stake in one term; or one key's votes for two blocks of one height and term;
* **supply mismatches**: a height at which issuance is not what is held, or not genesis + minted - burned, or a close
  block after which anything but the schedule's emission was minted, replayed from the genesis;
* **queries unaccounted for**: a version that an open block put on the roster, and that has in that epoch neither a
  value in a validator's ballot or evidence nor a reason in the record;
* **stalls**: how long there was no new final block on any disk.

Invariants: it only reads; a disk that vanishes while it is read is no finding.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actors.ballot import load_ballot
from actors.rows import rows_to_ask
from cluster.home import Home
from cluster.report import EpochRecord, read_epochs
from ledger.entries import Weighted
from ledger.epoch.emission import epoch_emission_rao
from ledger.errors import LedgerError
from ledger.state import Supply
from ledger.store.chain import Chain
from ledger.store.mark import Mark, read_mark
from ledger.store.replay import replay, verify
from ledger.trust.finality import verify_vote
from models.value.errors import EvidenceError
from models.value.record import read_evidence

AGAIN = 3
"""Blocks below a ledger's last final one that are looked at once more, for votes that came late."""


@dataclass
class Observer:
    """What was seen so far. `disks`: gives the databases that there are now."""

    disks: Callable[[], Iterable[Path]]
    final: dict[int, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    longest_stall_s: float = 0.0
    stalled_at: int = 0
    looks: int = 0
    _signed: dict[tuple[int, int, bytes], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    _votes: dict[tuple[int, int, bytes], bytes] = field(default_factory=dict)
    _marks: dict[Path, tuple[Mark | None, int]] = field(default_factory=dict)
    _last_at: float | None = None

    def look(self) -> int:
        """Look at every database that changed; the highest final block."""
        before = max(self.final, default=0)
        for path in self.disks():
            mark, inode = read_mark(path), inode_of(path)
            if inode is not None and (mark is None or self._marks.get(path) != (mark, inode)):
                try:
                    with Chain.open(path) as chain:
                        self._read(chain, path)
                except (LedgerError, OSError):
                    continue  # being written, moved or deleted just now; what is damaged is found at the end
                self._marks[path] = (mark, inode)
        self.looks += 1
        now, height = time.monotonic(), max(self.final, default=0)
        if height > before or self._last_at is None:
            if self._last_at is not None and before:
                self._stalled(now, before)
            self._last_at = now
        return height

    def rest(self) -> None:
        """Nothing runs from here on, so time does not count until the next final block."""
        self._last_at = None

    def stall_s(self) -> float:
        """How long there has been no new final block."""
        return 0.0 if self._last_at is None else time.monotonic() - self._last_at

    def _stalled(self, now: float, height: int) -> None:
        if self._last_at is not None and now - self._last_at > self.longest_stall_s:
            self.longest_stall_s, self.stalled_at = now - self._last_at, height

    def _read(self, chain: Chain, path: Path) -> None:
        known = min(max(self.final, default=0), chain.final_height)
        top = 0
        for height in range(max(1, known - AGAIN), chain.head.height + 1):
            block_hash, voting = chain.header(height).hash, chain.finality_set(height)
            for vote in chain.votes(height):
                if vote.block_hash == block_hash and verify_vote(vote, chain.genesis_hash):
                    self._count(height, vote.term, block_hash, vote.hotkey)
                    if self._final_in(height, vote.term, block_hash, voting):
                        top = height
        for height in range(top, 0, -1):
            block_hash = chain.header(height).hash
            if self.final.get(height) == block_hash and height < top:
                break
            if self.final.setdefault(height, block_hash) != block_hash:
                self._fault(f"doubled: block {height} is final as another on {path}")

    def _count(self, height: int, term: int, block_hash: bytes, hotkey: bytes) -> None:
        self._signed[height, term, block_hash].add(hotkey)
        if self._votes.setdefault((height, term, hotkey), block_hash) != block_hash:
            self._fault(f"doubled: {hotkey.hex()[:12]} signed two blocks {height} in term {term}")

    def _final_in(self, height: int, term: int, block_hash: bytes, voting: tuple[Weighted, ...]) -> bool:
        signed = self._signed[height, term, block_hash]
        total_rao = sum(member.stake_rao for member in voting)
        return 3 * sum(member.stake_rao for member in voting if member.hotkey in signed) > 2 * total_rao

    def _fault(self, sentence: str) -> None:
        if sentence not in self.faults:
            self.faults.append(sentence)

    def lost(self, home: Home) -> list[str]:
        """Blocks that were final somewhere once, and are not on the home's ledger."""
        with Chain.open(home.chain) as chain:
            held = {block.height: block.hash for block in chain.blocks(0)}
        return [
            f"lost: block {height} {block_hash.hex()[:12]}"
            for height, block_hash in sorted(self.final.items())
            if held.get(height) != block_hash
        ]


def inode_of(path: Path) -> int | None:
    """Which file is at a path now; None where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def supply_mismatches(chain: Chain) -> list[str]:
    """Heights of a ledger, replayed from its genesis, at which money came from nowhere or went there."""
    found, due_rao, issuance_rao = [], 0, 0
    for block, state in replay(chain.genesis, chain.blocks(0)):
        supply = state.supply()
        if block.header.kind == "close":
            due_rao += epoch_emission_rao(issuance_rao, chain.genesis.parameters.tempo)
        found += [f"supply: {fault} at block {block.height}" for fault in money_faults(supply, due_rao)]
        issuance_rao = supply.issuance_rao
    return found


def money_faults(supply: Supply, due_rao: int) -> list[str]:
    """What is wrong with the sums, `due_rao` of which should have been minted so far."""
    found = []
    if supply.issuance_rao != supply.free_rao + supply.pools_rao:
        found.append(f"{supply.free_rao + supply.pools_rao} RAO are held of {supply.issuance_rao}")
    if supply.issuance_rao != supply.genesis_rao + supply.minted_rao - supply.burned_rao:
        found.append(f"{supply.issuance_rao} RAO are there, which is not genesis + minted - burned")
    if supply.minted_rao != due_rao:
        found.append(f"{supply.minted_rao} RAO were minted, {due_rao} were due")
    return found


def unaccounted(home: Home) -> list[str]:
    """Versions that were asked in a closed epoch, and of which nobody says what became of them."""
    records = {record.epoch: record for record in read_epochs(home.epochs)}
    with Chain.open(home.chain) as chain:
        asked = {
            block.header.epoch: rows_to_ask(state, chain.genesis.panel)
            for block, state in replay(chain.genesis, chain.blocks(0))
            if block.header.kind == "open"
        }
        closed = chain.head.epoch if chain.head.kind == "close" else chain.head.epoch - 1
    missing = [
        f"unaccounted: {record.asked.unaccounted} by the record of epoch {record.epoch}"
        for record in records.values()
        if record.asked is not None and record.asked.unaccounted
    ]
    for epoch in range(1, closed + 1):
        valued, measured = answers_of(home, epoch)
        told = reasons(records.get(epoch)) | measured
        missing += [
            f"unaccounted: {row.manifest.hex()[:12]} of uid {row.uid} in epoch {epoch}"
            for row in asked[epoch]
            if row.manifest not in valued and row.uid not in told
        ]
    return missing


def unrecorded(home: Home) -> list[str]:
    """Closed epochs without a record."""
    recorded = {record.epoch for record in read_epochs(home.epochs)}
    with Chain.open(home.chain) as chain:
        closed = chain.head.epoch if chain.head.kind == "close" else chain.head.epoch - 1
    return [f"unrecorded: epoch {epoch}" for epoch in range(1, closed + 1) if epoch not in recorded]


def reasons(record: EpochRecord | None) -> set[int]:
    """The uids of an epoch's record that say why they have no value."""
    return {neuron.uid for neuron in record.neurons if neuron.reason} if record else set()


def answers_of(home: Home, epoch: int) -> tuple[set[bytes], set[int]]:
    """The versions with answers in an epoch's evidence, and the uids that a ballot has a figure or a reason for."""
    valued: set[bytes] = set()
    for path in home.evidence.glob(f"{epoch:06d}/*.evidence"):
        try:
            valued.update(read_evidence(path).round().manifests)
        except EvidenceError:
            continue
    measured: set[int] = set()
    for path in home.validators.glob(f"*/ballots/{epoch:06d}"):
        ballot = load_ballot(path)
        if ballot is not None:
            found = ballot.finding.neurons
            measured.update(each.uid for each in found if each.failure or each.bits_per_byte is not None)
    return valued, measured


def check_disks(disks: Iterable[Path], final: dict[int, bytes]) -> Iterator[str]:
    """Verify every ledger that is left from its genesis, and compare it with what is final."""
    for path in disks:
        try:
            verify(path)
            with Chain.open(path) as chain:
                held = {height: chain.header(height).hash for height in range(1, chain.final_height + 1)}
        except LedgerError as error:
            yield f"damaged: {path}: {error}"
            continue
        yield from (
            f"doubled: block {height} on {path}" for height in held if final.get(height, held[height]) != held[height]
        )

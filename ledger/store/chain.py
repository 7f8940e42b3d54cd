"""The chain: blocks, state and votes of one network in one file, for its keeper, its replicas and its readers.

Invariants: a block, the state rows it changed and its finality set are written in one transaction that also checks the
term's row, so they are there together or not at all; memory follows the disk, never the other way; only the holder of
the writer's lock writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ledger.blocks import Block, Header, Kind
from ledger.entries import Weighted
from ledger.errors import NotWriter, Refusal, StoreError
from ledger.genesis import Genesis, encode_genesis
from ledger.keys import Keypair
from ledger.sealing import check_block, seal_block, seal_genesis
from ledger.state import FINALITY_KEY, Sealed
from ledger.store.database import Database, WriterLock, as_int, new_database
from ledger.store.leading import read_last_vote, read_mandate, remove_head, write_term, write_undo
from ledger.store.mark import Mark, check_final, check_head, mark_path, read_mark, write_mark
from ledger.store.migration import migrate
from ledger.store.replay import load_state
from ledger.store.rows import (
    find_extrinsic,
    read_block,
    read_finality_set,
    read_genesis,
    read_header,
    read_outline,
    read_pruned_height,
    read_term,
    read_votes,
    write_block,
    write_finality_set,
)
from ledger.trust.finality import Vote, encode_vote, final_term, is_final, verify_vote
from ledger.trust.terms import Mandate, Signer


class Receipt(NamedTuple):
    """Where an extrinsic is, what became of it, and whether that is final or only committed on this disk."""

    height: int
    position: int
    code: str
    final: bool


class Chain:
    """An open ledger. Its methods are called one at a time; `head` and `state` are of the last block adopted."""

    def __init__(self, path: Path, database: Database, lock: WriterLock | None) -> None:
        self.path = path
        self._database = database
        self._lock = lock
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: str | Path, genesis: Genesis, *, term: int = 0, timeout_s: float = 5.0) -> "Chain":
        """Write block 0 and open the chain to write. Above term 0, which nobody else may lead, it leads nothing.

        StoreError if there is a ledger already, GenesisError if the genesis can't be.
        """
        path = Path(path)
        state, block, sealed = seal_genesis(genesis)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path, timeout_s)
        try:
            if path.exists():
                raise StoreError(f"{path}: there is a ledger here already; open it, or choose another place")
            mark_path(path).unlink(missing_ok=True)
            with new_database(path) as database:
                database.query("INSERT INTO meta VALUES (?, ?)", (b"genesis", encode_genesis(genesis)))
                database.query("INSERT INTO meta VALUES (?, ?)", (b"term", term))
                write_block(database, block, sealed)
                for epoch in (0, 1):
                    write_finality_set(database, epoch, state.finality_set, sealed.trie.find(FINALITY_KEY))
        finally:
            lock.release()
        return cls.open(path, write=True, timeout_s=timeout_s)

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False, timeout_s: float = 5.0) -> "Chain":
        """Open an existing chain;

        NotWriter if another process writes it for longer than `timeout_s`, DamagedLedger if head and state differ.
        """
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"{path}: there is no ledger here")
        lock = WriterLock(path, timeout_s) if write else None
        try:
            database = Database(path, write=write)
            if write:
                migrate(database)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        return cls(path, database, lock)

    def _load(self) -> None:
        mark = read_mark(self.path)
        with self._database.snapshot():
            if not self._database.has_schema():
                raise StoreError(f"{self.path}: the file holds no ledger")
            self.genesis = read_genesis(self._database)
            self.genesis_hash = self.genesis.hash
            height = as_int(
                self._database.query("SELECT max(height) FROM blocks", height=0)[0][0], 0, "the head's height"
            )
            check_head(mark, self._database, height)
            self.head: Header = read_header(self._database, height)
            self.head_hash = self.head.hash
            self.state = load_state(self._database, self.genesis, self.head)
            self._sets: dict[int, tuple[Weighted, ...]] = {}
            self.final_height = next((at for at in range(height, 0, -1) if self._votes_suffice(at)), 0)
            check_final(mark, self._database, self.final_height)
        if self._lock is not None:
            self._write_mark(self.head)

    @property
    def term(self) -> int:
        """The term that this ledger's writer promised, follows or leads."""
        return read_term(self._database, self.head.height)

    def signer(self, hotkey: bytes) -> Signer:
        """What binds a key that signs blocks of this ledger, as it is on disk."""
        last = read_last_vote(self._database, hotkey, self.head.height)
        return Signer(term=self.term, mandate=self.mandate(self.term), last=last)

    def mandate(self, term: int) -> Mandate | None:
        """The mandate of a term, None where this ledger has seen none; term 0 has none."""
        return read_mandate(self._database, term, self.head.height)

    def set_term(self, term: int, mandate: Mandate | None) -> None:
        """Write a promised term down, or the mandate of a term; Refusal `wrong_term` if the ledger's is higher.

        What a promise or a mandate must be is ledger.trust.terms' to say; the caller has asked it.
        """
        self._require_writer()
        with self._database.transaction():
            if term < self.term:
                raise Refusal("wrong_term", f"this ledger is at term {self.term} already, {term} is lower")
            write_term(self._database, term, mandate)
        self._write_mark(self.head)

    def build(self, kind: Kind, extrinsics: Sequence[bytes], *, term: int, keypair: Keypair) -> Block:
        """The keeper's seal: execute, sign and commit the next block.

        Refusal if it can't be; then nothing has changed.
        """
        self._require_writer()
        self._require_lead(term)
        block, sealed = seal_block(self.state, self.head, kind, extrinsics, term=term, keypair=keypair)
        self._commit(block, sealed, leading=True)
        return block

    def append(self, block: Block) -> None:
        """A replica's step: execute somebody else's block, and commit it if everything comes out the same.

        Refusal if not. A block of a lower term than this ledger's may be committed, but not signed.
        """
        self._require_writer()
        self._commit(block, check_block(self.state, self.head, block), leading=False)

    def withdraw_head(self) -> Block:
        """Take back a head that is not final, because another block became final at its height, or a mandate goes on
        without it. Refusal `wrong_block` if it is final.
        """
        self._require_writer()
        block = self.block(self.head.height)
        if self.is_final(block.height):
            raise Refusal("wrong_block", f"block {block.height} is final and stays")
        parent = self.header(block.height - 1)
        self._write_mark(parent, head_votes=0)
        with self._database.transaction():
            remove_head(self._database, block.header)
            load_state(self._database, self.genesis, parent)
        self._load()
        return block

    def _commit(self, block: Block, sealed: Sealed, *, leading: bool) -> None:
        header = block.header
        try:
            with self._database.transaction():
                if leading:
                    self._require_lead(header.term)
                elif header.term > self.term:
                    write_term(self._database, header.term, None)
                write_undo(self._database, self.state)
                write_block(self._database, block, sealed)
                if header.kind == "close":
                    way = sealed.trie.find(FINALITY_KEY)
                    write_finality_set(self._database, header.epoch + 1, self.state.finality_set, way)
        except BaseException:
            self.state.undo()
            raise
        self.state.accept(sealed)
        self.head, self.head_hash = header, header.hash
        self._write_mark(self.head)

    def add_votes(self, height: int, votes: Iterable[Vote]) -> bool:
        """Keep votes for a block; whether it is final now.

        Refusal `bad_vote` for any that doesn't count; then none is kept.
        """
        self._require_writer()
        votes = list(votes)
        header = self.header(height)
        voting, kept = self.finality_set(height), {vote.hotkey: vote for vote in self.votes(height)}
        hotkeys, certified = {member.hotkey for member in voting}, final_term(kept.values(), voting)
        for vote in votes:
            same_block = (vote.height, vote.block_hash) == (height, header.hash) and vote.term >= header.term
            if not same_block or vote.hotkey not in hotkeys or not verify_vote(vote, self.genesis_hash):
                raise Refusal("bad_vote", f"the vote of {vote.hotkey.hex()[:16]} does not count for block {height}")
        with self._database.transaction():
            for vote in votes:
                older = vote.hotkey in kept and kept[vote.hotkey].term >= vote.term
                if older or certified not in (None, vote.term):
                    continue  # a vote of another term must not take the place of one that made the block final
                values = (height, vote.hotkey, encode_vote(vote))
                self._database.query("INSERT OR REPLACE INTO votes VALUES (?, ?, ?)", values)
        if height > self.final_height and self._votes_suffice(height):
            self.final_height = height
        self._write_mark(self.head)
        return self.is_final(height)

    def is_final(self, height: int) -> bool:
        """Whether more than two thirds of the stake voted for the block, or for one after it."""
        return height <= self.final_height

    def votes(self, height: int) -> list[Vote]:
        """The votes kept for a block, by hotkey."""
        return read_votes(self._database, height)

    def finality_set(self, height: int) -> tuple[Weighted, ...]:
        """Who votes on the block of this height, with their stake."""
        epoch = self.header(height).epoch
        if epoch not in self._sets:
            self._sets = {epoch: read_finality_set(self._database, epoch, height).members}
        return self._sets[epoch]

    @property
    def next_finality_set(self) -> tuple[Weighted, ...]:
        """Who votes on the block after the head."""
        closed = self.head.kind in ("genesis", "close")
        return self.state.finality_set if closed else self.finality_set(self.head.height)

    @property
    def pruned_height(self) -> int:
        """The height up to which bodies were given up, 0 if none."""
        return read_pruned_height(self._database)

    @property
    def database(self) -> Database:
        """The open file, for those who keep it: pruning, proofs and the history of metagraphs."""
        return self._database

    def header(self, height: int) -> Header:
        """The header of a block; StoreError if the chain isn't that high."""
        self._require_height(height)
        return read_header(self._database, height)

    def block(self, height: int) -> Block:
        """The block; StoreError if the chain isn't that high, Pruned if only its outline is left."""
        self._require_height(height)
        return read_block(self._database, height)

    def blocks(self, first: int, last: int | None = None) -> Iterator[Block]:
        """The blocks from `first` to `last` (included; default the head)."""
        top = self.head.height if last is None else min(last, self.head.height)
        for height in range(first, top + 1):
            yield self.block(height)

    def receipt(self, extrinsic_hash: bytes, since: int = 1) -> Receipt | None:
        """What became of an extrinsic, looked for in the blocks from `since`; None while it is in none."""
        place = find_extrinsic(self._database, extrinsic_hash, since)
        if place is None:
            return None
        height, position = place
        return Receipt(height, position, read_outline(self._database, height).receipts[position], self.is_final(height))

    def refresh(self) -> None:
        """Take in what another process has written since; for readers."""
        newest = self._database.query("SELECT max(height) FROM blocks")[0][0]
        if newest != self.head.height or self.final_height != self.head.height:
            self._load()

    def close(self) -> None:
        """Close the file and let another process write; further calls do nothing."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "Chain":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_height(self, height: int) -> None:
        if not 0 <= height <= self.head.height:
            raise StoreError(f"there is no block {height}; the head is {self.head.height}")

    def _require_writer(self) -> None:
        if self._lock is None:
            raise NotWriter(f"{self.path} was opened to read; open it with write=True to change it")

    def _write_mark(self, head: Header, head_votes: int | None = None) -> None:
        mark = Mark(
            height=head.height,
            block_hash=head.hash.hex(),
            head_votes=len(self.votes(head.height)) if head_votes is None else head_votes,
            final_height=self.final_height,
            term=self.term,
        )
        write_mark(self.path, mark)

    def _require_lead(self, term: int) -> None:
        """Refusal unless the ledger is at this term and holds its mandate; term 0 is led by who the genesis names."""
        if term != self.term:
            raise Refusal("wrong_term", f"this ledger is at term {self.term}, the block would be of term {term}")
        if term > 0 and self.mandate(term) is None:
            raise Refusal("no_mandate", f"this ledger holds no mandate to lead term {term}")

    def _votes_suffice(self, height: int) -> bool:
        return is_final(self.votes(height), self.finality_set(height))

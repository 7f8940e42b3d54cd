"""The keeper: the one writer of the ledger.

Invariants:
* it starts asleep: until the driver has shown that its ledger is the newest, or it has led a term anew, it neither
  shows nor writes anything (NotLeading), for its disk may be a new one, or an old one that came back;
* truth is the database: it holds nothing that a restart would lose;
* every method may be called again with the same arguments: a block that is sealed is not sealed twice;
* it writes under its term only, one block beyond what is final; validators decide what is final.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from actors.disk import WRITER_WAIT_S, Disk, open_here
from actors.rows import Row, rows_to_ask
from ledger.blocks import APPLIED, Block, Kind
from ledger.entries import Cohort, Collective, Contribution, Neuron
from ledger.errors import NotLeading, Refusal
from ledger.extrinsics import decode_extrinsic
from ledger.keys import encode_address
from ledger.state import Supply
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.store.metagraph import metagraph_path, write_metagraphs
from ledger.store.pruning import prune_old
from ledger.store.replica import Known, absorb, known, lead, voters, votes_between
from ledger.trust.finality import Vote, Weighted, is_final, missing
from ledger.trust.terms import Mandate, Pledge
from ledger.units import blake2b_256
from ledger.wallet import Wallet

KEEPER = "keeper"
NEW_TERM = 1
"""Of a ledger that is made on a node's own disk. Nobody has a mandate for it, and nobody but the home's first ledger
leads term 0, so such a ledger leads nothing before it has taken over."""


class KeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the keeper finds its database, the queue of extrinsics and its key; how many closed epochs keep their
    extrinsics (0: all). Database and queue are on the node's own disk where there is one.
    """

    chain: str
    mempool: str
    wallets: str
    operator: str
    keep_epochs: int = 0
    disk: Disk | None = None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ledger stands. `kind` is that of the last block: genesis, open, commit or close."""

    height: int
    epoch: int
    kind: str
    block_hash: bytes
    final_height: int


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver reads off the ledger's state.

    Attributes:
        neurons: by uid. stakes_rao: of their hotkeys, in the same order.
        rows: the versions and the remote peers that the open epoch asks.
        previous_close_hash: of the block that closed the epoch before this one, or of the genesis block.
        close_hash: of the last block that closed an epoch, or of the genesis block: the next epoch's
            `previous_close_hash`.
        cohorts: by name, ascending: the last round that the validators agreed on.
        contributions: of the last open block, by uid; they stay until the next one.
        collective: as the last close block fixed it.
    """

    neurons: tuple[Neuron, ...]
    stakes_rao: tuple[int, ...]
    rows: tuple[Row, ...]
    supply: Supply
    previous_close_hash: bytes
    close_hash: bytes
    cohorts: Mapping[bytes, Cohort]
    contributions: Mapping[int, Contribution]
    collective: Collective


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A block that is committed on the keeper's disk, and the extrinsics in it that the rules refused; the hashes of
    those that left the queue, because no block will ever take them.
    """

    height: int
    block_hash: bytes
    refused: tuple[str, ...]
    dropped: tuple[bytes, ...] = ()


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What the keeper asks validators to sign.

    Attributes:
        term, mandate: that it leads. height, block_hash: of its head.
        final_height, final_hash: of the highest final block; the head itself, or its parent.
        blocks: above that. votes: for that, and above.
    """

    term: int
    mandate: Mandate | None
    height: int
    block_hash: bytes
    final_height: int
    final_hash: bytes
    blocks: tuple[Block, ...]
    votes: tuple[Vote, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a block is final and, if not, whose signatures are waited for (hotkeys)."""

    final: bool
    missing: tuple[bytes, ...]


class Keeper:
    """The plain class behind the keeper actor."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._settings, self._awake = settings, False
        chain, mempool = Path(settings.chain), Path(settings.mempool)
        if settings.disk is None:
            self._chain = Chain.open(chain, write=True, timeout_s=WRITER_WAIT_S)
        else:
            folder = settings.disk.folder(KEEPER)
            self._chain = open_here(folder / chain.name, settings.disk.genesis, term=NEW_TERM)
            mempool = folder / mempool.name
        self._mempool = Mempool(
            mempool,
            self._chain.genesis_hash,
            max_bytes=self._chain.genesis.parameters.max_extrinsic_bytes,
        )
        self._mempool.remove_included(self._chain.block(self._chain.head.height))
        self._keypair = Wallet.open(Path(settings.wallets), settings.operator).hotkey()

    def ping(self) -> int:
        """The process id: the keeper is alive."""
        return os.getpid()

    def known(self) -> Known:
        """What its ledger has; it answers asleep, as all that a take-over needs."""
        return known(self._chain)

    def voters(self) -> tuple[Weighted, ...]:
        """Who votes on the block after the highest final one, with their stake."""
        return voters(self._chain)

    def wake(self) -> None:
        """Lead: the driver has found no newer ledger with more than 2/3 of the stake.

        Raises:
            NotLeading: this ledger does not have what it takes to lead its term.
        """
        if not known(self._chain).leads:
            raise NotLeading(f"the keeper's ledger has no mandate to lead term {self._chain.term}")
        self._awake = True

    def position(self) -> Position:
        """Where the ledger stands."""
        self._require_awake()
        head = self._chain.head
        return Position(
            height=head.height,
            epoch=head.epoch,
            kind=head.kind,
            block_hash=self._chain.head_hash,
            final_height=self._chain.final_height,
        )

    def view(self) -> View:
        """The state as the driver needs it."""
        self._require_awake()
        state = self._chain.state
        previous_close_hash = state.globals.previous_close_hash
        neurons = tuple(state.neurons())
        return View(
            neurons=neurons,
            stakes_rao=tuple(state.stake(neuron.hotkey) for neuron in neurons),
            rows=rows_to_ask(state, self._chain.genesis.panel),
            supply=state.supply(),
            previous_close_hash=previous_close_hash,
            close_hash=self._chain.head_hash if state.globals.phase == "closed" else previous_close_hash,
            cohorts=state.cohorts(),
            contributions=state.contributions(),
            collective=state.collective,
        )

    def submit(self, extrinsics: list[bytes]) -> list[str]:
        """Queue signed extrinsics for the next block that takes them.

        Returns:
            for each "ok", or the refusal as "code: sentence".
        """
        self._require_awake()
        return self._queue(extrinsics)

    def _queue(self, extrinsics: Sequence[bytes]) -> list[str]:
        return ["ok" if refusal is None else str(refusal) for refusal in self._mempool.submit_all(extrinsics)]

    def next_nonce(self, public: bytes) -> int:
        """The nonce that a key's next extrinsic must carry, those that wait in the queue counted."""
        self._require_awake()
        return self._mempool.next_nonce(public, self._chain.state.nonce(public))

    def waiting(self, public: bytes) -> bool:
        """Whether extrinsics of a key are in the queue."""
        return self.next_nonce(public) > self._chain.state.nonce(public) + 1

    def seal(self, kind: Kind, epoch: int) -> Sealed:
        """Execute and commit the block of this kind of this epoch, or find it where it is the head already.

        Raises:
            Refusal: it is not this block's turn.
        """
        self._require_awake()
        head = self._chain.head
        if head.epoch == epoch and head.kind == kind:
            return _sealed(self._chain.block(head.height))
        if epoch != head.epoch + (kind == "open"):
            raise Refusal("wrong_epoch", f"the last block is {head.kind!r} of epoch {head.epoch}, not before {epoch}")
        if not self._chain.is_final(head.height):
            raise Refusal("not_final", f"block {head.height} is not final; collect its votes before the next block")
        waiting = self._mempool.pending()
        chosen = select(waiting, self._chain.state, kind, head.height + 1)
        block = self._chain.build(kind, chosen.extrinsics, term=self._chain.term, keypair=self._keypair)
        self._mempool.remove([*chosen.taken, *chosen.dropped])
        if kind == "close":
            if self._settings.disk is None:
                write_metagraphs(self._chain)
            if self._settings.keep_epochs:
                prune_old(self._chain, self._settings.keep_epochs)
        dropped = set(chosen.dropped)
        return _sealed(block, tuple(blake2b_256(data) for row_id, data in waiting if row_id in dropped))

    def proposal(self) -> Proposal:
        """What is to be signed now."""
        self._require_awake()
        chain = self._chain
        return Proposal(
            term=chain.term,
            mandate=chain.mandate(chain.term),
            height=chain.head.height,
            block_hash=chain.head_hash,
            final_height=chain.final_height,
            final_hash=chain.header(chain.final_height).hash,
            blocks=tuple(chain.blocks(chain.final_height + 1)),
            votes=tuple(votes_between(chain, chain.final_height)),
        )

    def blocks(self, first: int, last: int | None = None) -> list[Block]:
        """The blocks from a height to another (None: the head), for replicas."""
        return list(self._chain.blocks(first, last))

    def votes(self, first: int, last: int | None = None) -> list[Vote]:
        """The votes kept for those blocks: replicas sign a block whose parent is final."""
        return votes_between(self._chain, first, last)

    def mandate(self) -> Mandate | None:
        """What this keeper leads its term with, for replicas; None in term 0."""
        return self._chain.mandate(self._chain.term)

    def term(self) -> int:
        """The term that this keeper leads, or the highest that it knows of."""
        return self._chain.term

    def absorb(self, blocks: list[Block], votes: list[Vote]) -> None:
        """Take in what became final elsewhere. What has to give way goes back into the queue."""
        self._requeue_head()
        absorb(self._chain, blocks, votes)

    def lead(self, term: int, pledges: list[Pledge]) -> Mandate:
        """Take over with the validators' promises, awake from here on; the head may have to be signed again under the
        mandate first.

        Raises:
            Refusal: the promises are not enough, or tell of final blocks that it has not absorbed.
        """
        self._requeue_head()
        mandate = lead(self._chain, term, pledges, self._keypair)
        self._awake = True
        return mandate

    def add_votes(self, height: int, votes: list[Vote]) -> Standing:
        """Store the validators' signatures on a block, and say whether it is final.

        Raises:
            Refusal: they are not for a block of this ledger.
        """
        self._require_awake()
        if height > self._chain.head.height:
            raise Refusal("bad_vote", f"this ledger has no block {height}; its head is {self._chain.head.height}")
        self._chain.add_votes(height, votes)
        stored, entitled = self._chain.votes(height), self._chain.finality_set(height)
        return Standing(final=is_final(stored, entitled), missing=tuple(missing(stored, entitled)))

    def _requeue_head(self) -> None:
        """Queue again what is in a head that is not final, before it may have to give way: if it stays after all, the
        next seal drops what is spent.
        """
        head = self._chain.head
        if not self._chain.is_final(head.height):
            self._queue(self._chain.block(head.height).extrinsics)
            if head.kind == "close" and self._settings.disk is None:
                metagraph_path(self._chain.path, head.epoch).unlink(missing_ok=True)

    def _require_awake(self) -> None:
        if not self._awake:
            raise NotLeading("the keeper was not shown to have the newest ledger since it started")

    def close(self) -> None:
        """Give the database back; the actor may be ended after this."""
        self._mempool.close()
        self._chain.close()


def _sealed(block: Block, dropped: tuple[bytes, ...] = ()) -> Sealed:
    refused = []
    for data, code in zip(block.extrinsics, block.receipts, strict=True):
        if code != APPLIED:
            extrinsic = decode_extrinsic(data)
            refused.append(f"{type(extrinsic.call).__name__} of {encode_address(extrinsic.signer)}: {code}")
    return Sealed(height=block.height, block_hash=block.hash, refused=tuple(refused), dropped=dropped)

"""The keeper: the one writer of the ledger.

Invariants:
* truth is the database: it holds nothing that a restart would lose;
* every method may be called again with the same arguments: a block that is sealed is not sealed twice;
* it writes under its term only, one block beyond what is final; validators decide what is final.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.rows import Row, rows_to_ask
from ledger.blocks import APPLIED, Block, Kind
from ledger.entries import Cohort, Collective, Contribution, Neuron
from ledger.errors import Refusal
from ledger.extrinsics import decode_extrinsic
from ledger.keys import encode_address
from ledger.state import Supply
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool, select
from ledger.store.metagraph import metagraph_path, write_metagraphs
from ledger.store.pruning import prune_old
from ledger.store.replica import absorb, lead
from ledger.trust.finality import Vote, is_final, missing
from ledger.trust.terms import Mandate, Pledge
from ledger.wallet import Wallet

WRITER_WAIT_S = 30.0
"""How long a new keeper waits for the database of one that is being shut down."""


class KeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the keeper finds its database, the queue of extrinsics and its key; how many closed epochs keep their
    extrinsics (0: all).
    """

    chain: str
    mempool: str
    wallets: str
    operator: str
    keep_epochs: int = 0


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
    """A block that is committed on the keeper's disk, and the extrinsics in it that the rules refused."""

    height: int
    block_hash: bytes
    refused: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a block is final and, if not, whose signatures are waited for (hotkeys)."""

    final: bool
    missing: tuple[bytes, ...]


class Keeper:
    """The plain class behind the keeper actor."""

    def __init__(self, settings: KeeperSettings) -> None:
        self._keep_epochs = settings.keep_epochs
        self._chain = Chain.open(Path(settings.chain), write=True, timeout_s=WRITER_WAIT_S)
        self._mempool = Mempool(
            Path(settings.mempool),
            self._chain.genesis_hash,
            max_bytes=self._chain.genesis.parameters.max_extrinsic_bytes,
        )
        self._mempool.remove_included(self._chain.block(self._chain.head.height))
        self._keypair = Wallet.open(Path(settings.wallets), settings.operator).hotkey()

    def ping(self) -> int:
        """The process id: the keeper is alive."""
        return os.getpid()

    def position(self) -> Position:
        """Where the ledger stands."""
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
        outcomes = []
        for extrinsic in extrinsics:
            try:
                self._mempool.submit(extrinsic)
            except Refusal as refusal:
                outcomes.append(str(refusal))
            else:
                outcomes.append("ok")
        return outcomes

    def next_nonce(self, public: bytes) -> int:
        """The nonce that a key's next extrinsic must carry, those that wait in the queue counted."""
        return self._mempool.next_nonce(public, self._chain.state.nonce(public))

    def waiting(self, public: bytes) -> bool:
        """Whether extrinsics of a key are in the queue."""
        return self.next_nonce(public) > self._chain.state.nonce(public) + 1

    def seal(self, kind: Kind, epoch: int) -> Sealed:
        """Execute and commit the block of this kind of this epoch, or find it where it is the head already.

        Raises:
            Refusal: it is not this block's turn.
        """
        head = self._chain.head
        if head.epoch == epoch and head.kind == kind:
            return _sealed(self._chain.block(head.height))
        if epoch != head.epoch + (kind == "open"):
            raise Refusal("wrong_epoch", f"the last block is {head.kind!r} of epoch {head.epoch}, not before {epoch}")
        if not self._chain.is_final(head.height):
            raise Refusal("not_final", f"block {head.height} is not final; collect its votes before the next block")
        chosen = select(self._mempool.pending(), self._chain.state, kind, head.height + 1)
        block = self._chain.build(kind, chosen.extrinsics, term=self._chain.term, keypair=self._keypair)
        self._mempool.remove([*chosen.taken, *chosen.dropped])
        if kind == "close":
            write_metagraphs(self._chain)
            if self._keep_epochs:
                prune_old(self._chain, self._keep_epochs)
        return _sealed(block)

    def blocks(self, first: int) -> list[Block]:
        """The blocks from a height on, for replicas."""
        return list(self._chain.blocks(first))

    def votes(self, first: int) -> list[Vote]:
        """The votes kept for the blocks from a height on, for replicas: they sign a block whose parent is final."""
        return [vote for height in range(first, self._chain.head.height + 1) for vote in self._chain.votes(height)]

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
        """Take over with the validators' promises; the head may have to be signed again under the mandate first.

        Raises:
            Refusal: the promises are not enough, or tell of final blocks that it has not absorbed.
        """
        self._requeue_head()
        return lead(self._chain, term, pledges, self._keypair)

    def add_votes(self, height: int, votes: list[Vote]) -> Standing:
        """Store the validators' signatures on a block, and say whether it is final."""
        self._chain.add_votes(height, votes)
        stored, entitled = self._chain.votes(height), self._chain.finality_set(height)
        return Standing(final=is_final(stored, entitled), missing=tuple(missing(stored, entitled)))

    def _requeue_head(self) -> None:
        """Queue again what is in a head that is not final, before it may have to give way: if it stays after all, the
        next seal drops what is spent.
        """
        head = self._chain.head
        if not self._chain.is_final(head.height):
            self.submit(list(self._chain.block(head.height).extrinsics))
            if head.kind == "close":
                metagraph_path(self._chain.path, head.epoch).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the database back; the actor may be ended after this."""
        self._mempool.close()
        self._chain.close()


def _sealed(block: Block) -> Sealed:
    refused = []
    for data, code in zip(block.extrinsics, block.receipts, strict=True):
        if code != APPLIED:
            extrinsic = decode_extrinsic(data)
            refused.append(f"{type(extrinsic.call).__name__} of {encode_address(extrinsic.signer)}: {code}")
    return Sealed(height=block.height, block_hash=block.hash, refused=tuple(refused))

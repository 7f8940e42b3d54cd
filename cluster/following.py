"""The home's ledger where the keeper's is on a node's own disk: a replica of what is final, and what waits for a block.

Invariants:
* every final block is here before the next one is asked for, so a lost node takes nothing along that was final;
* what is queued is here first and leaves when it is in a final block, or when a keeper has said that no block will
  take it: a keeper whose disk is lost gets it again.
"""

from collections.abc import Sequence

from actors.keeper import Sealed
from cluster.home import Home
from ledger.blocks import Block
from ledger.genesis import Genesis
from ledger.store.chain import Chain
from ledger.store.mempool import Mempool
from ledger.store.metagraph import metagraph_path, write_metagraphs
from ledger.store.pruning import prune_old
from ledger.store.replica import Known, absorb, known, votes_between
from ledger.trust.finality import Vote


class Follower:
    """The driver's own replica and queue."""

    def __init__(self, home: Home, genesis: Genesis, keep_epochs: int) -> None:
        self._keep_epochs = keep_epochs
        self._chain = Chain.open(home.chain, write=True)
        self._mempool = Mempool(home.mempool, genesis.hash, max_bytes=genesis.parameters.max_extrinsic_bytes)
        self._handed = 0
        head = self._chain.block(self._chain.head.height)
        if self._chain.is_final(head.height):
            # A driver that was killed may have kept a block and not yet cleared the queue.
            self._mempool.remove_included(head)
        else:
            # Of a time when the keeper's ledger was the home's: it may have to give way.
            self.queue(head.extrinsics)
            metagraph_path(home.chain, head.header.epoch).unlink(missing_ok=True)

    def known(self) -> Known:
        """What the replica has."""
        return known(self._chain)

    def blocks(self, first: int, last: int) -> list[Block]:
        """The replica's blocks from a height to another. Pruned where only outlines are left."""
        return list(self._chain.blocks(first, last))

    def votes(self, first: int, last: int) -> list[Vote]:
        """The votes kept for them."""
        return votes_between(self._chain, first, last)

    def follow(self, blocks: Sequence[Block], votes: Sequence[Vote]) -> None:
        """Take in blocks that are final by these votes."""
        absorb(self._chain, blocks, votes)
        for block in blocks:
            self._mempool.remove_included(block)
        if any(block.header.kind == "close" for block in blocks):
            write_metagraphs(self._chain)
            if self._keep_epochs:
                prune_old(self._chain, self._keep_epochs)

    def queue(self, extrinsics: Sequence[bytes]) -> list[str]:
        """Queue signed extrinsics; for each "ok", or the refusal."""
        return ["ok" if refusal is None else str(refusal) for refusal in self._mempool.submit_all(extrinsics)]

    def unhanded(self) -> tuple[list[bytes], int]:
        """What waits and was not handed to the keeper yet, and the row to tell `handed` of."""
        rows = self._mempool.pending(after=self._handed)
        return [data for _, data in rows], rows[-1][0] if rows else self._handed

    def handed(self, row: int) -> None:
        """The keeper has everything up to this row; 0: it has nothing."""
        self._handed = row

    def forget(self, sealed: Sealed) -> None:
        """What the keeper has dropped waits no more."""
        self._mempool.forget(sealed.dropped)

    def close(self) -> None:
        """Give both files back."""
        self._mempool.close()
        self._chain.close()

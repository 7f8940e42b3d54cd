"""A second keeper on a disk that was cut off: it builds the next block as the old one would have, under its term.

It has the keeper's key and ledger, and the validators' keys and replicas that are on the same disk. It keeps the rules:
one block a height and term, signed by who may. Whatever comes of it must never be on the ledger of the others.

Run: `python -m benchmarks.partition_keeper DISK/NETWORK WALLETS`; prints what it wrote, as JSON.
"""

import json
import sys
from pathlib import Path

from cluster.config import OPERATOR
from ledger.errors import Refusal
from ledger.execution import next_kind
from ledger.store.chain import Chain
from ledger.store.replica import follow
from ledger.trust.finality import Vote, is_final
from ledger.wallet import Wallet

WRITER_WAIT_S = 30.0


def main() -> None:
    """Build, sign and tell."""
    disk, wallets = Path(sys.argv[1]), Path(sys.argv[2])
    with Chain.open(disk / "keeper" / "chain.db", write=True, timeout_s=WRITER_WAIT_S) as chain:
        built = False
        if chain.is_final(chain.head.height):
            keypair = Wallet.open(wallets, OPERATOR).hotkey()
            chain.build(next_kind(chain.state), [], term=chain.term, keypair=keypair)
            built = True
        head, signed, refused = chain.block(chain.head.height), [], []
        for replica in sorted(disk.glob("*/replica.db")):
            try:
                signed += [vote for vote in sign(replica, chain, wallets) if vote.block_hash == head.hash]
            except Refusal as refusal:
                refused.append(f"{replica.parent.name}: {refusal}")
        chain.add_votes(head.height, signed)
        told = {
            "built": built,
            "height": head.height,
            "kind": head.header.kind,
            "term": head.header.term,
            "block_hash": head.hash.hex(),
            "signed_by": len(signed),
            "refused": refused,
            "final": is_final(chain.votes(head.height), chain.finality_set(head.height)),
        }
    print(json.dumps(told))


def sign(replica: Path, chain: Chain, wallets: Path) -> list[Vote]:
    """Have a validator of this disk follow the block, by its rules."""
    with Chain.open(replica, write=True, timeout_s=WRITER_WAIT_S) as own:
        votes = [vote for height in range(own.final_height + 1, chain.head.height + 1) for vote in chain.votes(height)]
        keypair = Wallet.open(wallets, replica.parent.name).hotkey()
        return follow(own, chain.blocks(own.head.height + 1), votes, chain.mandate(chain.term), keypair)


if __name__ == "__main__":
    main()

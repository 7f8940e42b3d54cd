"""Making proofs from an open chain: of extrinsics in any block, pruned or not, and of accounts at the head.

Invariants: a proof is checked before it is given away; the votes are in it as soon as the block is final.
"""

from ledger.errors import StoreError
from ledger.keys import encode_address
from ledger.state import ACCOUNT_PREFIX, NONCE_PREFIX
from ledger.store.chain import Chain
from ledger.store.rows import find_extrinsic, read_block, read_finality_set, read_outline, read_pruned_height
from ledger.trust.finality import is_final
from ledger.trust.merkle import find_way
from ledger.trust.proofs import AccountProof, EntryProof, ExtrinsicProof, FinalityProof, check_proof


def prove_extrinsic(chain: Chain, extrinsic_hash: bytes) -> ExtrinsicProof:
    """Prove in which block an extrinsic is, and with which receipt; StoreError if it is in none."""
    place = find_extrinsic(chain.database, extrinsic_hash, 0)
    if place is None:
        raise StoreError(f"no block up to {chain.head.height} has the extrinsic {extrinsic_hash.hex()}")
    height, position = place
    outline, pruned = read_outline(chain.database, height), read_pruned_height(chain.database)
    proof = ExtrinsicProof(
        genesis_hash=chain.genesis_hash,
        header=outline.header,
        signature=outline.signature,
        finality=prove_finality(chain, height),
        hash=extrinsic_hash,
        position=position,
        count=len(outline.hashes),
        way=find_way(outline.hashes, position),
        receipt=outline.receipts[position],
        receipt_way=find_way([receipt.encode() for receipt in outline.receipts], position),
        extrinsic=None if height <= pruned else read_block(chain.database, height).extrinsics[position],
    )
    check_proof(proof)
    return proof


def prove_account(chain: Chain, public: bytes) -> AccountProof:
    """Prove the balance and the nonce of a public key at the head, or that there are none."""
    proof = AccountProof(
        genesis_hash=chain.genesis_hash,
        header=chain.head,
        signature=read_outline(chain.database, chain.head.height).signature,
        finality=prove_finality(chain, chain.head.height),
        public=public,
        balance=_prove_entry(chain, ACCOUNT_PREFIX + public),
        nonce=_prove_entry(chain, NONCE_PREFIX + public),
    )
    check_proof(proof)
    return proof


def prove_finality(chain: Chain, height: int) -> FinalityProof | None:
    """The votes that made a block final, its own or of the first block above it that has enough; None if none has."""
    for voted in range(max(height, 1), chain.final_height + 1):
        votes = chain.votes(voted)
        if not is_final(votes, chain.finality_set(voted)):
            continue
        epoch, closing = chain.header(voted).epoch, voted - 1
        while chain.header(closing).epoch == epoch:
            closing -= 1
        fixed = read_finality_set(chain.database, epoch, voted)
        return FinalityProof(
            headers=tuple(chain.header(at) for at in range(min(height, closing), voted + 1)),
            closing_height=closing,
            members=fixed.encoded,
            way=fixed.way,
            votes=tuple(votes),
        )
    return None


def _prove_entry(chain: Chain, full_key: bytes) -> EntryProof:
    way = chain.state.find(full_key)
    if way is None:
        raise StoreError(f"{encode_address(full_key[1:])}: the state is empty")
    return EntryProof(value=chain.state.encode(full_key), way=way)

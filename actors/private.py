"""Private text: what a network commits to before it uses text that nobody else has.

Invariants: the root is of the documents, whatever their order or files; it is in the genesis, which stands before every
seed, so that no text can be chosen for the windows that a seed draws from it.
"""

from ledger.trust.merkle import compute_root
from models.text.corpus import Corpus


def private_hashes(corpus: Corpus) -> list[bytes]:
    """BLAKE2b-256 of each held-out document, ascending."""
    return sorted(corpus.document_hash(int(document)) for document in corpus.held_out)


def private_root(corpus: Corpus) -> bytes | None:
    """The Merkle root over `private_hashes`; None where held-out text is public."""
    return compute_root(private_hashes(corpus)) if corpus.private else None

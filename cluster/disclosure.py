"""Disclosure: private documents that an epoch asked about, shown afterwards, each with its way to the genesis' root.

Invariants: what is disclosed can be checked with the 32 bytes of the root alone; documents that were not asked about
stay private, and so can be asked about later.
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from actors.private import private_hashes, private_root
from cluster.archive import open_chain
from cluster.errors import ClusterError, NotClosed
from cluster.home import Home
from ledger.trust.merkle import compute_way_root, find_way
from models.text.corpus import Corpus
from models.value.record import read_evidence


class DisclosedDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A document's text, its place among the hashes in ascending order, and its siblings up to the root."""

    text: bytes
    position: int
    way: tuple[bytes, ...]


class Disclosure(Struct, frozen=True, forbid_unknown_fields=True):
    """The private documents of which an epoch's windows were cut; `count` is of all that the root covers."""

    genesis: bytes
    epoch: int
    count: int
    documents: tuple[DisclosedDocument, ...]


def disclose(home: Home, epoch: int) -> Disclosure:
    """What the evidence of a closed epoch names, with its text.

    Raises:
        ClusterError: the network's text is public, the home's text is not that of the genesis, or the epoch is open.
        EvidenceError: evidence is damaged.
    """
    with open_chain(home.folder) as chain:
        genesis, closed = chain.genesis, chain.head.closed_epoch
    if genesis.private_text is None:
        raise ClusterError("this network's held-out text is public: there is nothing to disclose")
    if not 1 <= epoch <= closed:
        raise NotClosed(epoch, closed)
    corpus = Corpus.open(home.text)
    if private_root(corpus) != genesis.private_text:
        raise ClusterError(f"the text in {home.text} is not what the genesis commits to")
    hashes = private_hashes(corpus)
    document_of = {corpus.document_hash(int(document)): int(document) for document in corpus.held_out}
    asked = _asked(home.evidence / f"{epoch:06d}")
    documents = (
        DisclosedDocument(corpus.bytes_of(document_of[hash_]).tobytes(), position, find_way(hashes, position))
        for position, hash_ in enumerate(hashes)
        if hash_ in asked
    )
    return Disclosure(genesis.hash, epoch, len(hashes), tuple(documents))


def check_disclosure(disclosure: Disclosure, root: bytes) -> frozenset[bytes]:
    """The hashes of the disclosed documents, all of which the root covers.

    Args:
        root: `private_text` of the genesis.

    Raises:
        ClusterError: a document is not one of those that the root covers.
    """
    hashes = set()
    for document in disclosure.documents:
        digest = hashlib.blake2b(document.text, digest_size=32).digest()
        try:
            found = compute_way_root(digest, document.position, disclosure.count, document.way)
        except ValueError as error:
            raise ClusterError(f"document {digest.hex()[:16]} has no way to the root: {error}") from None
        if found != root:
            raise ClusterError(f"document {digest.hex()[:16]} is not what the genesis commits to")
        hashes.add(digest)
    return frozenset(hashes)


def write_disclosure(path: Path, disclosure: Disclosure) -> None:
    """Canonical MessagePack in a file."""
    path.write_bytes(msgspec.msgpack.encode(disclosure))


def read_disclosure(path: Path) -> Disclosure:
    """Raises ClusterError where the file holds none."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Disclosure)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} is no disclosure: {error}") from None


def _asked(folder: Path) -> set[bytes]:
    """Hashes of the documents that the evidence of an epoch names."""
    evidence = (read_evidence(path) for path in sorted(folder.glob("*.evidence")))
    return {row.tobytes() for each in evidence for row in each.array("window_document_hash")}

"""Signed messages between validators and hosts: what is asked, what is answered, and the checks on both.

Invariants:
* a signature covers a domain, the network, the epoch and every byte that matters: a message cannot be used elsewhere;
* an answer names the query by its digest and the rows it is for, so answers can be joined into batches and split;
* nothing here trusts a sender: `check_query` and `check_answer` raise `WireError` with the reason.

Legend: W windows, T bytes a window, E = T − 1 events a window.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ledger.keys import Keypair, verify

QUERY_DOMAIN = b"taoray/query/1"
ANSWER_DOMAIN = b"taoray/answer/1"


class WireError(Exception):
    """A message is not what it claims to be; the sentence says in what."""


@dataclass(frozen=True)
class Query:
    """A validator's windows of held-out text for one epoch.

    Attributes:
        genesis: the network, 32 bytes.
        epoch: the epoch that it belongs to.
        validator: the hotkey that asks, 32 bytes.
        text_WT: uint8 [W, T].
        signature: over `digest`, 64 bytes.
    """

    genesis: bytes
    epoch: int
    validator: bytes
    text_WT: NDArray[np.uint8]
    signature: bytes

    @property
    def digest(self) -> bytes:
        """BLAKE2b-256 of everything but the signature."""
        return query_digest(self.genesis, self.epoch, self.validator, self.text_WT)


@dataclass(frozen=True)
class Answer:
    """A version's log-probabilities for some windows of one query.

    Attributes:
        query: digest of the query.
        version: manifest hash of the model version that answers, 32 bytes.
        first: index of the first window answered.
        log_probability_WE: float32 [windows answered, E], natural logarithms of the bytes after the first.
        signer: the hotkey that answers for the version, 32 bytes.
        signature: over the fields above, 64 bytes.
    """

    query: bytes
    version: bytes
    first: int
    log_probability_WE: NDArray[np.float32]
    signer: bytes
    signature: bytes


def query_digest(genesis: bytes, epoch: int, validator: bytes, text_WT: NDArray[np.uint8]) -> bytes:
    """BLAKE2b-256 that names a query: the network, the epoch, who asks, the shape and the text."""
    digest = hashlib.blake2b(QUERY_DOMAIN + genesis + epoch.to_bytes(8, "little") + validator, digest_size=32)
    digest.update(_shape(text_WT))
    digest.update(np.ascontiguousarray(text_WT).tobytes())
    return digest.digest()


def sign_query(keypair: Keypair, *, genesis: bytes, epoch: int, text_WT: NDArray[np.uint8]) -> Query:
    """A validator's signed question."""
    digest = query_digest(genesis, epoch, keypair.public, text_WT)
    return Query(genesis, epoch, keypair.public, text_WT, keypair.sign(QUERY_DOMAIN + digest))


def check_query(query: Query, *, genesis: bytes) -> None:
    """Raise `WireError` unless the query is whole, of this network and signed by the validator it names."""
    if query.genesis != genesis:
        raise WireError("the query is of another network")
    if not 0 <= query.epoch < 2**64:
        raise WireError(f"the query is of epoch {query.epoch}, which cannot be")
    text_WT = query.text_WT
    if text_WT.dtype != np.uint8 or text_WT.ndim != 2 or text_WT.shape[1] < 2:
        raise WireError(f"the query's text is {text_WT.dtype} {text_WT.shape}, expected uint8 [W, T] with 2 or more T")
    if not verify(query.validator, QUERY_DOMAIN + query.digest, query.signature):
        raise WireError("the query's signature is not its validator's")


def sign_answer(
    keypair: Keypair, *, query: bytes, version: bytes, first: int, log_probability_WE: NDArray[np.float32]
) -> Answer:
    """A host's signed answer for one version and the windows from `first` on."""
    digest = _answer_digest(query, version, first, log_probability_WE)
    return Answer(query, version, first, log_probability_WE, keypair.public, keypair.sign(ANSWER_DOMAIN + digest))


def check_answer(answer: Answer, query: Query, *, version: bytes, signers: Collection[bytes]) -> None:
    """Raise `WireError` unless the answer is for this query and version, has its shape, and is signed by one of
    `signers` (the version's owner, or the network's keeper where the owner is gone)."""
    if answer.query != query.digest:
        raise WireError("the answer is to another query")
    if answer.version != version:
        raise WireError("the answer is for another version")
    windows, width = query.text_WT.shape
    values = answer.log_probability_WE
    if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != width - 1:
        raise WireError(f"the answer is {values.dtype} {values.shape}, expected float32 [W, {width - 1}]")
    if answer.first < 0 or answer.first + len(values) > windows:
        raise WireError(f"the answer is for windows {answer.first} to {answer.first + len(values)} of {windows}")
    if answer.signer not in signers:
        raise WireError("the answer is signed by a key that does not speak for the version")
    digest = _answer_digest(answer.query, answer.version, answer.first, values)
    if not verify(answer.signer, ANSWER_DOMAIN + digest, answer.signature):
        raise WireError("the answer's signature does not fit it")


def _answer_digest(query: bytes, version: bytes, first: int, values: NDArray[np.float32]) -> bytes:
    digest = hashlib.blake2b(ANSWER_DOMAIN + query + version + first.to_bytes(8, "little"), digest_size=32)
    digest.update(_shape(values))
    digest.update(np.ascontiguousarray(values).astype("<f4", copy=False).tobytes())
    return digest.digest()


def _shape(array: NDArray[np.generic]) -> bytes:
    return b"".join(size.to_bytes(8, "little") for size in array.shape)

"""Signed messages between validators and peers: what is asked, what is answered, and the checks on both.

Invariants:
* a signature covers a domain, the network, the epoch and every byte that matters: a message cannot be used elsewhere;
* an answer names the query by its digest and the rows it is for, so answers can be joined into batches and split;
* nothing here trusts a sender: `check_query` and `check_answer` raise `WireError` with the reason.

Legend: W windows, T bytes a window, C cuts.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.genesis import Panel
from ledger.keys import Keypair, verify
from models.text.align import Scores

QUERY_DOMAIN = b"taoray/query/2"
ANSWER_DOMAIN = b"taoray/answer/2"
BYTES = 256

SHORTEST: dict[Panel, int] = {"segments": 2, "next_byte": 1}
"""Bytes that a window on the wire must have."""

Said = Scores | NDArray[np.float32]
"""What a model says of W windows: `Scores` (segments), or natural log-probabilities float32 [W, 256] (next_byte)."""


class WireError(Exception):
    """A message is not what it claims to be; the sentence says in what."""


@dataclass(frozen=True)
class Query:
    """A validator's windows of held-out text for one epoch.

    Attributes:
        genesis: the network, 32 bytes.
        epoch: the epoch that it belongs to.
        validator: the hotkey that asks, 32 bytes.
        panel: what is to be answered.
        text_WT: uint8 [W, T]; in the next_byte panel the byte that is asked for is not in it.
        signature: over `digest`, 64 bytes.
    """

    genesis: bytes
    epoch: int
    validator: bytes
    panel: Panel
    text_WT: NDArray[np.uint8]
    signature: bytes

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b-256 of everything but the signature; every answer names it, so it is computed once."""
        return query_digest(self.genesis, self.epoch, self.validator, self.panel, self.text_WT)

    def __reduce__(self) -> tuple[type["Query"], tuple[Any, ...]]:
        """It travels without its digest: who receives it computes that from what came."""
        return Query, tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Answer:
    """What a version says of some windows of one query.

    Attributes:
        query: digest of the query.
        version: manifest hash of the model version that answers, 32 bytes.
        first: index of the first window answered.
        said: of the windows from `first` on.
        signer: the hotkey that answers for the version, 32 bytes.
        signature: over the fields above, 64 bytes.
    """

    query: bytes
    version: bytes
    first: int
    said: Said
    signer: bytes
    signature: bytes

    @property
    def windows(self) -> int:
        """How many windows are answered."""
        return len(self.said.start_W) - 1 if isinstance(self.said, Scores) else len(self.said)


def query_digest(genesis: bytes, epoch: int, validator: bytes, panel: Panel, text_WT: NDArray[np.uint8]) -> bytes:
    """BLAKE2b-256 that names a query: the network, the epoch, who asks, what for, the shape and the text."""
    about = QUERY_DOMAIN + genesis + epoch.to_bytes(8, "little") + validator + panel.encode().ljust(16)
    digest = hashlib.blake2b(about, digest_size=32)
    _update(digest, text_WT, "|u1")
    return digest.digest()


def sign_query(keypair: Keypair, *, genesis: bytes, epoch: int, panel: Panel, text_WT: NDArray[np.uint8]) -> Query:
    """A validator's signed question."""
    digest = query_digest(genesis, epoch, keypair.public, panel, text_WT)
    return Query(genesis, epoch, keypair.public, panel, text_WT, keypair.sign(QUERY_DOMAIN + digest))


def check_query(query: Query, *, genesis: bytes) -> None:
    """Raise `WireError` unless the query is whole, of this network and signed by the validator it names."""
    if query.genesis != genesis:
        raise WireError("the query is of another network")
    if not 0 <= query.epoch < 2**64:
        raise WireError(f"the query is of epoch {query.epoch}, which cannot be")
    if query.panel not in SHORTEST:
        raise WireError(f"the query is of the panel {query.panel!r}, expected one of {', '.join(SHORTEST)}")
    text_WT, least = query.text_WT, SHORTEST[query.panel]
    if text_WT.dtype != np.uint8 or text_WT.ndim != 2 or text_WT.shape[1] < least:
        raise WireError(
            f"the query's text is {text_WT.dtype} {text_WT.shape}, expected uint8 [W, T] with {least} or more T"
        )
    if not verify(query.validator, QUERY_DOMAIN + query.digest, query.signature):
        raise WireError("the query's signature is not its validator's")


def sign_answer(keypair: Keypair, *, query: bytes, version: bytes, first: int, said: Said) -> Answer:
    """A signed answer for one version and the windows from `first` on."""
    digest = _answer_digest(query, version, first, said)
    return Answer(query, version, first, said, keypair.public, keypair.sign(ANSWER_DOMAIN + digest))


def check_answer(answer: Answer, query: Query, *, version: bytes, signers: Collection[bytes]) -> None:
    """Raise `WireError` unless the answer is for this query and version, has its form, and is signed by one of
    `signers` (the version's owner, or the network's keeper where the owner is gone)."""
    if answer.query != query.digest:
        raise WireError("the answer is to another query")
    if answer.version != version:
        raise WireError("the answer is for another version")
    if isinstance(answer.said, Scores) != (query.panel == "segments"):
        raise WireError(f"the answer is not of the panel {query.panel}")
    if isinstance(answer.said, Scores):
        _check_scores(answer.said, query.text_WT.shape[1])
    elif answer.said.dtype != np.float32 or answer.said.ndim != 2 or answer.said.shape[1] != BYTES:
        raise WireError(f"the answer is {answer.said.dtype} {answer.said.shape}, expected float32 [W, {BYTES}]")
    asked, last = len(query.text_WT), answer.first + answer.windows
    if answer.first < 0 or last > asked:
        raise WireError(f"the answer is for windows {answer.first} to {last} of {asked}")
    if answer.signer not in signers:
        raise WireError("the answer is signed by a key that does not speak for the version")
    digest = _answer_digest(answer.query, answer.version, answer.first, answer.said)
    if not verify(answer.signer, ANSWER_DOMAIN + digest, answer.signature):
        raise WireError("the answer's signature does not fit it")


def _check_scores(scores: Scores, width: int) -> None:
    """Whether columns belong together, cuts ascend within their windows, and probabilities are some."""
    arrays = ((scores.cut_C, np.int32), (scores.start_W, np.int64), (scores.log_probability_C, np.float32))
    if any(array.dtype != kind or array.ndim != 1 for array, kind in arrays):
        kinds = ", ".join(f"{array.dtype} {array.shape}" for array, _ in arrays)
        raise WireError(f"the answer is {kinds}, expected int32 [C], int64 [W + 1], float32 [C]")
    cut_C, start_W, cuts = scores.cut_C, scores.start_W, len(scores.cut_C)
    if len(start_W) < 1 or start_W[0] != 0 or start_W[-1] != cuts or (np.diff(start_W) < 0).any():
        raise WireError(f"the answer does not say which window each of its {cuts} cuts belongs to")
    if len(scores.log_probability_C) != cuts:
        raise WireError(f"the answer has {len(scores.log_probability_C)} log-probabilities for {cuts} cuts")
    begins_C = np.zeros(cuts, dtype=bool)
    begins_C[start_W[:-1][np.diff(start_W) > 0]] = True
    if ((cut_C < 0) | (cut_C > width)).any() or (np.diff(cut_C, prepend=-1) <= 0)[~begins_C].any():
        raise WireError(f"the answer's cuts do not ascend from 0 to {width} within each window")
    # Half a unit of the matrix that is valued: what rounds to probability 1 is probability 1.
    wrong = ~(scores.log_probability_C <= LARGEST_LOG_PROBABILITY)
    if wrong.any():
        raise WireError(f"{int(wrong.sum())} of {cuts} log-probabilities are above 0 or not a number")


LARGEST_LOG_PROBABILITY = np.log(2.0) / 2048
"""What float32 may leave above 0: it rounds to 0 in the matrix that is valued, of whole 1/1024 bits."""


def _answer_digest(query: bytes, version: bytes, first: int, said: Said) -> bytes:
    digest = hashlib.blake2b(ANSWER_DOMAIN + query + version + first.to_bytes(8, "little"), digest_size=32)
    if isinstance(said, Scores):
        _update(digest, said.cut_C, "<i4")
        _update(digest, said.start_W, "<i8")
        _update(digest, said.log_probability_C, "<f4")
    else:
        _update(digest, said, "<f4")
    return digest.digest()


def _update(digest: "hashlib.blake2b", array: NDArray[np.generic], kind: str) -> None:
    """Shape and content, little-endian, whatever the layout in memory."""
    digest.update(len(array.shape).to_bytes(1, "little") + b"".join(size.to_bytes(8, "little") for size in array.shape))
    digest.update(np.ascontiguousarray(array).astype(kind, copy=False).ravel().data)

"""What goes between a network and its remote peers: a question and its reply, each in a signed envelope.

Invariants:
* a question is for one receiver of one network, for a while, once: its signature covers all of that and the hash of
  what is asked, so whoever holds it can use it nowhere else and never again;
* a reply names the question by its hash, so one of yesterday, or of another question, is no reply to this one;
* inside stand the validator's signed query and the peer's signed answer: neither the middle nor whoever asks for the
  validators can change what is asked or answered;
* there is one encoding of a message: who changes a byte of it has it refused.

Legend: W windows, T bytes of a prefix.
"""

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from actors.wire import BYTES, Answer, Query, WireError, check_answer, check_query, sign_answer
from ledger.keys import Keypair, verify

QUESTION_DOMAIN = b"taoray/remote-question/1"
REPLY_DOMAIN = b"taoray/remote-reply/1"

SKEW_S = 30.0
"""How far the clocks of a network and of a peer may be apart."""

LONGEST_S = 3600.0
"""The longest that a question may stay valid, so that a peer need not remember more."""

MOST_SEEN = 1 << 16
"""Nonces that a peer remembers; beyond that it takes no question until some expire."""

MOST_QUESTION_BYTES = 64 << 20
"""The largest question that is read."""

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]


class SignatureError(WireError):
    """A message is not signed by the key that it should be signed by."""


class _Asked(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A validator's query of the next_byte panel."""

    epoch: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    validator: Hash
    windows: Annotated[int, Meta(ge=1, le=1 << 24)]
    prefix_bytes: Annotated[int, Meta(ge=1, le=1 << 24)]
    text: bytes
    signature: Signature


class _Envelope(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A question on its way; `asked` is an encoded `_Asked`."""

    genesis: Hash
    asker: Hash
    receiver: Hash
    nonce: Nonce
    sent_at_ms: Milliseconds
    valid_for_ms: Milliseconds
    asked: bytes
    signature: Signature

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        times = self.sent_at_ms.to_bytes(8, "little") + self.valid_for_ms.to_bytes(8, "little")
        return QUESTION_DOMAIN + self.genesis + self.asker + self.receiver + self.nonce + times + _hash(self.asked)


class _Reply(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A reply on its way: the question's hash, float32 [W, 256] as little-endian bytes, the answer's own signature."""

    question: Hash
    said: bytes
    answer: Signature
    signature: Signature

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return REPLY_DOMAIN + self.question + _hash(self.said) + self.answer


@dataclass(frozen=True)
class Question:
    """A question that was opened: the validator's query, and the hash that the reply has to name."""

    query: Query
    hash: bytes

    @property
    def prefixes(self) -> list[bytes]:
        """The W texts; the byte after each is asked for."""
        return [text_T.tobytes() for text_T in self.query.text_WT]


class Seen:
    """The nonces that a peer remembers, so that it answers no question twice.

    What was sent before it began to remember is refused: a restart forgets nothing that counts. Safe with threads.
    """

    def __init__(self, *, most: int = MOST_SEEN, now_s: float | None = None) -> None:
        self._began_ms = _milliseconds(now_s)
        self._most = most
        self._until_ms: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until_ms)

    def add(self, nonce: bytes, *, sent_at_ms: int, until_ms: int, now_ms: int) -> None:
        """Remember a nonce until its question expires.

        Raises:
            WireError: it is here already, may be from before a restart, or there are too many.
        """
        with self._lock:
            if sent_at_ms < self._began_ms:
                raise WireError("the question was sent before this peer started, and may have been answered then")
            if nonce in self._until_ms:
                raise WireError("the question was asked before")
            if len(self._until_ms) >= self._most:
                self._until_ms = {kept: until for kept, until in self._until_ms.items() if until >= now_ms}
            if len(self._until_ms) >= self._most:
                raise WireError(f"more than {self._most} questions are valid at once")
            self._until_ms[nonce] = until_ms


def seal_question(
    query: Query, keypair: Keypair, *, receiver: bytes, valid_for_s: float, now_s: float | None = None
) -> bytes:
    """A question to one remote peer.

    Args:
        query: a validator's, of the next_byte panel.
        keypair: of who asks for the validators: the network's keeper.
        receiver: the hotkey that is asked.
        valid_for_s: how long it may be answered; the clocks' difference comes on top.
    """
    windows, prefix_bytes = query.text_WT.shape
    asked = _Asked(query.epoch, query.validator, windows, prefix_bytes, query.text_WT.tobytes(), query.signature)
    envelope = _Envelope(
        genesis=query.genesis,
        asker=keypair.public,
        receiver=receiver,
        nonce=secrets.token_bytes(16),
        sent_at_ms=_milliseconds(now_s),
        valid_for_ms=_milliseconds(min(valid_for_s + SKEW_S, LONGEST_S)),
        asked=msgspec.msgpack.encode(asked),
        signature=bytes(64),
    )
    return msgspec.msgpack.encode(msgspec.structs.replace(envelope, signature=keypair.sign(envelope.signed)))


def open_question(
    data: bytes, keypair: Keypair, *, genesis: bytes, asker: bytes, seen: Seen, now_s: float | None = None
) -> Question:
    """What a peer does with a question that came.

    Args:
        keypair: the peer's hotkey.
        genesis: the network that the peer belongs to, and `asker` the hotkey of its keeper.
        seen: the nonces so far; this one is added.

    Raises:
        WireError: it is not a question to this peer of this network, it is too old or from the future, was asked
            before, or is too large.
    """
    if len(data) > MOST_QUESTION_BYTES:
        raise WireError(f"the question has {len(data)} bytes, above {MOST_QUESTION_BYTES}")
    envelope = _decode(data, _Envelope, "question")
    for told, own, what in (
        (envelope.genesis, genesis, "network"),
        (envelope.asker, asker, "asker"),
        (envelope.receiver, keypair.public, "receiver"),
    ):
        if told != own:
            raise WireError(f"the question's {what} is {told.hex()[:16]}, expected {own.hex()[:16]}")
    if not verify(asker, envelope.signed, envelope.signature):
        raise SignatureError("the question's signature does not fit it")
    _check_time(envelope, _milliseconds(now_s), seen)
    asked = _decode(envelope.asked, _Asked, "query in the question")
    if len(asked.text) != asked.windows * asked.prefix_bytes:
        raise WireError(f"the query has {len(asked.text)} bytes for {asked.windows} prefixes of {asked.prefix_bytes}")
    text_WT = np.frombuffer(asked.text, np.uint8).reshape(asked.windows, asked.prefix_bytes)
    query = Query(genesis, asked.epoch, asked.validator, "next_byte", text_WT, asked.signature)
    check_query(query, genesis=genesis)
    return Question(query, _hash(data))


def answer_question(question: Question, log_probability_W256: NDArray[np.float32], keypair: Keypair) -> bytes:
    """A peer's reply: natural log-probabilities float32 [W, 256] of the byte after each prefix.

    Raises:
        WireError: they have another shape or kind.
    """
    expected = (len(question.query.text_WT), BYTES)
    if log_probability_W256.shape != expected or log_probability_W256.dtype != np.float32:
        raise WireError(
            f"the answer is {log_probability_W256.dtype} {log_probability_W256.shape}, expected float32 {expected}"
        )
    answer = sign_answer(
        keypair, query=question.query.digest, version=keypair.public, first=0, said=log_probability_W256
    )
    said = np.ascontiguousarray(log_probability_W256).astype("<f4", copy=False).tobytes()
    reply = _Reply(question.hash, said, answer.signature, bytes(64))
    return msgspec.msgpack.encode(msgspec.structs.replace(reply, signature=keypair.sign(reply.signed)))


def reply_bytes(windows: int) -> int:
    """How long a reply for so many windows is, exactly."""
    said = windows * BYTES * 4
    # MessagePack's binaries begin with 2 bytes up to 255, with 3 up to 65,535, else with 5.
    return (
        len(msgspec.msgpack.encode(_Reply(bytes(32), b"", bytes(64), bytes(64))))
        - 2
        + (3 if said < 1 << 16 else 5)
        + said
    )


def open_reply(data: bytes, *, question: bytes, query: Query, receiver: bytes) -> Answer:
    """What came of a question, as an answer that any validator can check.

    Args:
        question: as it was sent.
        query: that stands in it.
        receiver: the hotkey that was asked; its answers' version is the hotkey itself.

    Raises:
        SignatureError: it is not signed by the receiver.
        WireError: it is not a reply to this question.
    """
    reply = _decode(data, _Reply, "reply")
    if not verify(receiver, reply.signed, reply.signature):
        raise SignatureError("the reply's signature is not that of the hotkey that was asked")
    if reply.question != _hash(question):
        raise WireError("the reply is to another question")
    if len(reply.said) != len(query.text_WT) * BYTES * 4:
        raise WireError(f"the reply has {len(reply.said)} bytes for {len(query.text_WT)} prefixes")
    said = np.frombuffer(reply.said, "<f4").reshape(-1, BYTES).astype(np.float32, copy=False)
    answer = Answer(query.digest, receiver, 0, said, receiver, reply.answer)
    check_answer(answer, query, version=receiver, signers=(receiver,))
    return answer


def _check_time(envelope: _Envelope, now_ms: int, seen: Seen) -> None:
    """Within its time, and for the first time."""
    if envelope.valid_for_ms > _milliseconds(LONGEST_S):
        raise WireError(f"the question is valid for {envelope.valid_for_ms} ms, above {LONGEST_S:g} s")
    until_ms = envelope.sent_at_ms + envelope.valid_for_ms
    if now_ms > until_ms:
        raise WireError(f"the question expired {(now_ms - until_ms) / 1000:.1f} s ago: is the clock right?")
    if envelope.sent_at_ms > now_ms + _milliseconds(SKEW_S):
        raise WireError(f"the question is of {(envelope.sent_at_ms - now_ms) / 1000:.1f} s hence: is the clock right?")
    seen.add(envelope.nonce, sent_at_ms=envelope.sent_at_ms, until_ms=until_ms, now_ms=now_ms)


Message = TypeVar("Message", bound=Struct)


def _decode(data: bytes, kind: type[Message], what: str) -> Message:
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise WireError(f"the {what} cannot be read: {error}") from None
    if msgspec.msgpack.encode(message) != data:
        raise WireError(f"the {what} is not in the one encoding that there is")
    return message


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def _milliseconds(seconds: float | None) -> int:
    return round((time.time() if seconds is None else seconds) * 1000)

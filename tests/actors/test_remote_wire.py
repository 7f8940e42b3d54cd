"""Questions to remote peers and their replies: what is meant is accepted, once, and nothing else is."""

import hashlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import remote_wire
from actors.remote_wire import (
    LONGEST_S,
    MOST_QUESTION_BYTES,
    SKEW_S,
    Question,
    Seen,
    SignatureError,
    answer_question,
    open_question,
    open_reply,
    reply_bytes,
    seal_question,
)
from actors.wire import Query, WireError, check_answer, sign_query
from ledger.keys import Keypair


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


GENESIS = bytes(range(32))
KEEPER, VALIDATOR, PEER, MIDDLE = (keypair(name) for name in ("keeper", "validator", "peer", "middle"))
NOW_S = 1_000_000.0
BEGAN_S = NOW_S - 3600


def make_query(seed: int = 0, windows: int = 3, genesis: bytes = GENESIS) -> Query:
    text_WT = np.random.default_rng(seed).integers(0, 256, (windows, 8), dtype=np.uint8)
    return sign_query(VALIDATOR, genesis=genesis, epoch=5, panel="next_byte", text_WT=text_WT)


def make_said(seed: int = 0, windows: int = 3) -> np.ndarray:
    probability_W256 = np.random.default_rng(seed).dirichlet(np.ones(256), windows)
    return np.log(probability_W256).astype(np.float32)


QUERY = make_query()
SAID_W256 = make_said()


def sealed(query: Query = QUERY, receiver: bytes = PEER.public, valid_for_s: float = 60.0) -> bytes:
    return seal_question(query, KEEPER, receiver=receiver, valid_for_s=valid_for_s, now_s=NOW_S)


def opened(data: bytes, *, peer: Keypair = PEER, seen: Seen | None = None, now_s: float = NOW_S, **other) -> Question:
    told = {"genesis": GENESIS, "asker": KEEPER.public} | other
    return open_question(data, peer, seen=Seen(now_s=BEGAN_S) if seen is None else seen, now_s=now_s, **told)


DATA = sealed()
REPLY = answer_question(opened(DATA), SAID_W256, PEER)


def accept(reply: bytes, question: bytes = DATA, query: Query = QUERY, receiver: bytes = PEER.public):
    return open_reply(reply, question=question, query=query, receiver=receiver)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**40), st.integers(0, 2**31))
def test_a_question_comes_back_answered(windows, prefix_bytes, epoch, seed):
    text_WT = np.random.default_rng(seed).integers(0, 256, (windows, prefix_bytes), dtype=np.uint8)
    query = sign_query(VALIDATOR, genesis=GENESIS, epoch=epoch, panel="next_byte", text_WT=text_WT)
    data = sealed(query)
    question = opened(data)
    assert question.prefixes == [text_T.tobytes() for text_T in text_WT]
    said_W256 = make_said(seed, windows)
    reply = answer_question(question, said_W256, PEER)
    assert len(reply) == reply_bytes(windows)
    answer = accept(reply, data, query)
    assert np.array_equal(answer.said, said_W256)
    assert answer.said.dtype == np.float32
    assert answer.version == answer.signer == PEER.public
    check_answer(answer, query, version=PEER.public, signers=(PEER.public,))


@settings(max_examples=300)
@given(st.integers(0, 8 * len(DATA) - 1))
def test_a_question_with_one_bit_changed_is_refused(bit):
    with pytest.raises(WireError):
        opened(flip(DATA, bit))


@settings(max_examples=300)
@given(st.integers(0, 8 * len(REPLY) - 1))
def test_a_reply_with_one_bit_changed_is_refused(bit):
    with pytest.raises(WireError):
        accept(flip(REPLY, bit))


@given(st.binary(max_size=200))
def test_junk_is_refused(junk):
    for open_ in (opened, accept):
        with pytest.raises(WireError):
            open_(junk)
        with pytest.raises(WireError):
            open_(DATA[: len(junk)] if open_ is opened else REPLY[: len(junk)])


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"genesis": bytes(32)}, "network"),
        ({"asker": VALIDATOR.public}, "asker"),
        ({"peer": MIDDLE}, "receiver"),
        ({"now_s": NOW_S + 60 + SKEW_S + 1}, "expired"),
        ({"now_s": NOW_S - SKEW_S - 1}, "hence"),
        ({"seen": Seen(now_s=NOW_S + 1)}, "before this peer started"),
    ],
)
def test_a_question_for_others_or_of_another_time_is_refused(other, what):
    with pytest.raises(WireError, match=what):
        opened(DATA, **other)


def test_clocks_may_be_apart_a_little():
    opened(DATA, now_s=NOW_S + 60 + SKEW_S - 1)
    opened(DATA, now_s=NOW_S - SKEW_S + 1)


def test_a_question_is_answered_once_and_remembered_until_it_expires():
    seen = Seen(most=3, now_s=BEGAN_S)
    questions = [sealed() for _ in range(4)]
    for question in questions[:3]:
        opened(question, seen=seen)
    for question in questions[:3]:
        with pytest.raises(WireError, match="before"):
            opened(question, seen=seen)
    with pytest.raises(WireError, match="valid at once"):
        opened(questions[3], seen=seen)
    assert len(seen) == 3
    later_s = NOW_S + 60 + SKEW_S + 1
    opened(seal_question(QUERY, KEEPER, receiver=PEER.public, valid_for_s=60, now_s=later_s), seen=seen, now_s=later_s)
    assert len(seen) == 1


def test_who_is_not_the_asker_fills_no_memory():
    seen = Seen(now_s=BEGAN_S)
    forged = seal_question(QUERY, MIDDLE, receiver=PEER.public, valid_for_s=60, now_s=NOW_S)
    for data in (forged, flip(DATA, 8 * 60)):
        with pytest.raises(WireError):
            opened(data, seen=seen)
    assert len(seen) == 0


def resealed(data: bytes, signer: Keypair = KEEPER, **changes: object) -> bytes:
    """A question's envelope with fields changed and signed again."""
    envelope = msgspec.structs.replace(msgspec.msgpack.decode(data, type=remote_wire._Envelope), **changes)
    return msgspec.msgpack.encode(msgspec.structs.replace(envelope, signature=signer.sign(envelope.signed)))


def test_whoever_asks_cannot_make_up_what_validators_ask():
    asked = msgspec.msgpack.decode(msgspec.msgpack.decode(DATA)[6])
    for place, other in ((0, 6), (1, MIDDLE.public), (2, 2), (3, 4), (4, bytes(24)), (5, bytes(64))):
        changed = [*asked[:place], other, *asked[place + 1 :]]
        with pytest.raises(WireError):
            opened(resealed(DATA, asked=msgspec.msgpack.encode(changed)))
    opened(resealed(DATA, asked=msgspec.msgpack.encode(asked)))


def test_a_question_is_not_valid_for_long():
    opened(sealed(valid_for_s=1e9), now_s=NOW_S + LONGEST_S)
    with pytest.raises(WireError, match="above"):
        opened(resealed(DATA, valid_for_ms=round(LONGEST_S * 1000) + 1))


def test_there_is_one_encoding():
    loose = msgspec.msgpack.encode([*msgspec.msgpack.decode(DATA)])
    assert loose == DATA
    with pytest.raises(WireError, match="one encoding"):
        opened(DATA.replace(b"\xc4\x10", b"\xc5\x00\x10", 1))
    with pytest.raises(WireError):
        opened(DATA + b"\xc0")


def test_what_is_too_large_is_not_read():
    with pytest.raises(WireError, match="above"):
        opened(bytes(MOST_QUESTION_BYTES + 1))


def test_a_reply_to_another_question_is_refused():
    again, other_query = sealed(), make_query(seed=1)
    other = sealed(other_query)
    for question, query in ((again, QUERY), (other, other_query)):
        with pytest.raises(WireError, match="another question"):
            accept(REPLY, question, query)
    later = answer_question(opened(again), SAID_W256, PEER)
    accept(later, again)
    with pytest.raises(WireError, match="another question"):
        accept(later)


def test_a_reply_is_signed_by_who_was_asked():
    with pytest.raises(SignatureError):
        accept(REPLY, receiver=MIDDLE.public)
    theirs = answer_question(opened(DATA), SAID_W256, MIDDLE)
    with pytest.raises(SignatureError):
        accept(theirs)


def test_a_stranger_s_answer_in_ones_own_reply_is_refused():
    theirs = msgspec.msgpack.decode(answer_question(opened(DATA), SAID_W256, MIDDLE), type=remote_wire._Reply)
    envelope = msgspec.msgpack.encode(msgspec.structs.replace(theirs, signature=PEER.sign(theirs.signed)))
    with pytest.raises(WireError, match="signature does not fit"):
        accept(envelope)


@pytest.mark.parametrize(
    "said", [SAID_W256[:2], SAID_W256[:, :255], SAID_W256.astype(np.float64), SAID_W256.ravel()], ids=str
)
def test_an_answer_of_another_shape_is_not_sent(said):
    with pytest.raises(WireError, match="expected float32"):
        answer_question(opened(DATA), said, PEER)

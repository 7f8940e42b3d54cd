"""Signed messages: what is signed is accepted, and nothing else is."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.wire import Answer, Query, WireError, check_answer, check_query, sign_answer, sign_query
from ledger.keys import Keypair


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


GENESIS = bytes(range(32))
VERSION = bytes([7] * 32)
VALIDATOR, OWNER, OPERATOR = keypair("validator"), keypair("owner"), keypair("operator")
TEXT_WT = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
QUERY = sign_query(VALIDATOR, genesis=GENESIS, epoch=5, text_WT=TEXT_WT)
VALUES_WE = -np.random.default_rng(1).exponential(2.0, (4, 8)).astype(np.float32)


def answered(**changes: object) -> Answer:
    fields = {"query": QUERY.digest, "version": VERSION, "first": 1, "log_probability_WE": VALUES_WE} | changes
    return sign_answer(OWNER, **fields)


ANSWER = answered()


def accept(answer: Answer, query: Query = QUERY) -> None:
    check_answer(answer, query, version=VERSION, signers={OWNER.public, OPERATOR.public})


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.integers(1, 5), st.integers(2, 12), st.integers(0, 2**63), st.data())
def test_what_is_signed_is_accepted_also_after_a_journey(windows, width, epoch, data):
    text_WT = np.frombuffer(data.draw(st.binary(min_size=windows * width, max_size=windows * width)), np.uint8)
    query = sign_query(VALIDATOR, genesis=GENESIS, epoch=epoch, text_WT=text_WT.reshape(windows, width))
    first = data.draw(st.integers(0, windows - 1))
    values = np.full((data.draw(st.integers(0, windows - first)), width - 1), -0.5, np.float32)
    answer = sign_answer(OWNER, query=query.digest, version=VERSION, first=first, log_probability_WE=values)
    query, answer = pickle.loads(pickle.dumps((query, answer)))
    check_query(query, genesis=GENESIS)
    accept(answer, query)


def test_the_layout_in_memory_does_not_matter():
    check_query(replace(QUERY, text_WT=np.asfortranarray(TEXT_WT)), genesis=GENESIS)
    accept(replace(ANSWER, log_probability_WE=np.asfortranarray(VALUES_WE)))
    accept(answered(log_probability_WE=np.repeat(VALUES_WE, 2, axis=0)[::2]))


@settings(max_examples=60)
@given(st.sampled_from(["genesis", "validator", "signature"]), st.integers(0, 255))
def test_a_query_with_one_bit_changed_is_refused(field, bit):
    with pytest.raises(WireError):
        check_query(replace(QUERY, **{field: flip(getattr(QUERY, field), bit)}), genesis=GENESIS)


@settings(max_examples=60)
@given(st.sampled_from(["query", "version", "signer", "signature"]), st.integers(0, 255))
def test_an_answer_with_one_bit_changed_is_refused(field, bit):
    with pytest.raises(WireError):
        accept(replace(ANSWER, **{field: flip(getattr(ANSWER, field), bit)}))


@settings(max_examples=60)
@given(st.integers(0, TEXT_WT.size * 8 - 1), st.integers(0, VALUES_WE.size * 32 - 1))
def test_text_and_values_with_one_bit_changed_are_refused(text_bit, value_bit):
    text_WT = np.frombuffer(flip(TEXT_WT.tobytes(), text_bit), np.uint8).reshape(TEXT_WT.shape)
    with pytest.raises(WireError, match="signature"):
        check_query(replace(QUERY, text_WT=text_WT), genesis=GENESIS)
    values_WE = np.frombuffer(flip(VALUES_WE.tobytes(), value_bit), np.float32).reshape(VALUES_WE.shape)
    with pytest.raises(WireError, match="signature"):
        accept(replace(ANSWER, log_probability_WE=values_WE))


@given(st.integers(-(2**70), 2**70).filter(lambda epoch: epoch != QUERY.epoch))
def test_a_query_of_another_epoch_is_refused(epoch):
    with pytest.raises(WireError):
        check_query(replace(QUERY, epoch=epoch), genesis=GENESIS)


@given(st.integers(-(2**70), 2**70).filter(lambda first: first != ANSWER.first))
def test_an_answer_moved_to_other_windows_is_refused(first):
    with pytest.raises(WireError):
        accept(replace(ANSWER, first=first))


def test_a_query_of_another_network_is_refused():
    other = sign_query(VALIDATOR, genesis=bytes(32), epoch=5, text_WT=TEXT_WT)
    with pytest.raises(WireError, match="another network"):
        check_query(other, genesis=GENESIS)


@pytest.mark.parametrize(
    "text_WT", [TEXT_WT.ravel(), TEXT_WT[None], TEXT_WT.astype(np.int32), TEXT_WT.astype(object), TEXT_WT[:, :0]]
)
def test_a_query_of_another_shape_is_refused_though_signed(text_WT):
    with pytest.raises(WireError, match="text"):
        check_query(replace(QUERY, text_WT=text_WT), genesis=GENESIS)


def test_the_same_bytes_in_another_shape_are_another_query():
    other = sign_query(VALIDATOR, genesis=GENESIS, epoch=5, text_WT=TEXT_WT.reshape(9, 6))
    assert other.digest != QUERY.digest
    with pytest.raises(WireError, match="another query"):
        accept(ANSWER, other)


def test_an_answer_cannot_be_used_for_another_epoch_or_validator():
    later = sign_query(VALIDATOR, genesis=GENESIS, epoch=6, text_WT=TEXT_WT)
    neighbour = sign_query(OWNER, genesis=GENESIS, epoch=5, text_WT=TEXT_WT)
    for query in (later, neighbour):
        with pytest.raises(WireError, match="another query"):
            accept(ANSWER, query)


def test_an_answer_for_another_version_is_refused():
    with pytest.raises(WireError, match="another version"):
        accept(answered(version=bytes(32)))


def test_only_who_speaks_for_the_version_may_sign():
    accept(sign_answer(OPERATOR, query=QUERY.digest, version=VERSION, first=0, log_probability_WE=VALUES_WE))
    stranger = sign_answer(VALIDATOR, query=QUERY.digest, version=VERSION, first=0, log_probability_WE=VALUES_WE)
    with pytest.raises(WireError, match="does not speak"):
        accept(stranger)
    with pytest.raises(WireError, match="signature"):
        accept(replace(stranger, signer=OWNER.public))


@pytest.mark.parametrize(
    "values_WE",
    [
        VALUES_WE.astype(np.float64),
        VALUES_WE.astype(">f4"),
        VALUES_WE.astype(object),
        VALUES_WE[:, :-1],
        VALUES_WE.ravel(),
        VALUES_WE[None],
    ],
)
def test_an_answer_of_another_shape_is_refused_though_signed(values_WE):
    with pytest.raises(WireError, match="expected float32"):
        accept(replace(ANSWER, log_probability_WE=values_WE))


@pytest.mark.parametrize(("first", "windows"), [(-1, 1), (6, 1), (3, 4), (0, 7), (2**64, 1)])
def test_an_answer_for_windows_that_were_not_asked_is_refused_though_signed(first, windows):
    values_WE = np.full((windows, 8), -1.0, np.float32)
    signed = answered(first=0, log_probability_WE=values_WE)
    with pytest.raises(WireError, match="windows"):
        accept(replace(signed, first=first))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_is_refused(signature):
    with pytest.raises(WireError):
        check_query(replace(QUERY, signature=signature), genesis=GENESIS)
    with pytest.raises(WireError):
        accept(replace(ANSWER, signature=signature))


def test_a_signed_query_is_no_signed_answer():
    """Different domains: a signature for one kind of message does not fit the other."""
    forged = replace(ANSWER, signer=VALIDATOR.public, signature=QUERY.signature)
    with pytest.raises(WireError, match="signature"):
        check_answer(forged, QUERY, version=VERSION, signers={VALIDATOR.public})

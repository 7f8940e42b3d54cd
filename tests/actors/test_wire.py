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
from models.text.align import Scores, byte_scores


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


GENESIS = bytes(range(32))
VERSION = bytes([7] * 32)
VALIDATOR, OWNER, OPERATOR = keypair("validator"), keypair("owner"), keypair("operator")
TEXT_WT = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
QUERY = sign_query(VALIDATOR, genesis=GENESIS, epoch=5, panel="segments", text_WT=TEXT_WT)
PREFIXES = sign_query(VALIDATOR, genesis=GENESIS, epoch=5, panel="next_byte", text_WT=TEXT_WT)
VALUES_WE = -np.random.default_rng(1).exponential(2.0, (4, 8)).astype(np.float32)
SAID = byte_scores(VALUES_WE)
COLUMNS = ("cut_C", "start_W", "log_probability_C")
UNIFORM_W256 = np.full((4, 256), -np.log(256), np.float32)


def answered(**changes: object) -> Answer:
    fields = {"query": QUERY.digest, "version": VERSION, "first": 1, "said": SAID} | changes
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
    query = sign_query(
        VALIDATOR, genesis=GENESIS, epoch=epoch, panel="segments", text_WT=text_WT.reshape(windows, width)
    )
    first = data.draw(st.integers(0, windows - 1))
    values = np.full((data.draw(st.integers(0, windows - first)), width - 1), -0.5, np.float32)
    answer = sign_answer(OWNER, query=query.digest, version=VERSION, first=first, said=byte_scores(values))
    query, answer = pickle.loads(pickle.dumps((query, answer)))
    check_query(query, genesis=GENESIS)
    accept(answer, query)


def test_the_layout_in_memory_does_not_matter():
    check_query(replace(QUERY, text_WT=np.asfortranarray(TEXT_WT)), genesis=GENESIS)
    twice = replace(SAID, log_probability_C=np.repeat(SAID.log_probability_C, 2)[::2])
    accept(replace(ANSWER, said=twice))
    accept(sign_distributions(np.asfortranarray(UNIFORM_W256)), PREFIXES)


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
@given(st.integers(0, TEXT_WT.size * 8 - 1), st.sampled_from(COLUMNS), st.data())
def test_text_and_values_with_one_bit_changed_are_refused(text_bit, column, data):
    text_WT = np.frombuffer(flip(TEXT_WT.tobytes(), text_bit), np.uint8).reshape(TEXT_WT.shape)
    with pytest.raises(WireError, match="signature"):
        check_query(replace(QUERY, text_WT=text_WT), genesis=GENESIS)
    array = getattr(SAID, column)
    changed = np.frombuffer(flip(array.tobytes(), data.draw(st.integers(0, array.nbytes * 8 - 1))), array.dtype)
    with pytest.raises(WireError):
        accept(replace(ANSWER, said=replace(SAID, **{column: changed})))


@settings(max_examples=60)
@given(st.integers(0, UNIFORM_W256.nbytes * 8 - 1))
def test_distributions_with_one_bit_changed_are_refused(bit):
    values_W256 = np.frombuffer(flip(UNIFORM_W256.tobytes(), bit), np.float32).reshape(UNIFORM_W256.shape)
    accept(sign_distributions(UNIFORM_W256), PREFIXES)
    with pytest.raises(WireError, match="signature"):
        accept(replace(sign_distributions(UNIFORM_W256), said=values_W256), PREFIXES)


def sign_distributions(values_W256: np.ndarray) -> Answer:
    return sign_answer(OWNER, query=PREFIXES.digest, version=VERSION, first=1, said=values_W256)


@given(st.integers(-(2**70), 2**70).filter(lambda epoch: epoch != QUERY.epoch))
def test_a_query_of_another_epoch_is_refused(epoch):
    with pytest.raises(WireError):
        check_query(replace(QUERY, epoch=epoch), genesis=GENESIS)


@given(st.integers(-(2**70), 2**70).filter(lambda first: first != ANSWER.first))
def test_an_answer_moved_to_other_windows_is_refused(first):
    with pytest.raises(WireError):
        accept(replace(ANSWER, first=first))


def test_a_query_of_another_network_is_refused():
    other = sign_query(VALIDATOR, genesis=bytes(32), epoch=5, panel="segments", text_WT=TEXT_WT)
    with pytest.raises(WireError, match="another network"):
        check_query(other, genesis=GENESIS)


@pytest.mark.parametrize(
    "text_WT", [TEXT_WT.ravel(), TEXT_WT[None], TEXT_WT.astype(np.int32), TEXT_WT.astype(object), TEXT_WT[:, :0]]
)
def test_a_query_of_another_shape_is_refused_though_signed(text_WT):
    with pytest.raises(WireError, match="text"):
        check_query(replace(QUERY, text_WT=text_WT), genesis=GENESIS)


def test_the_same_bytes_in_another_shape_are_another_query():
    other = sign_query(VALIDATOR, genesis=GENESIS, epoch=5, panel="segments", text_WT=TEXT_WT.reshape(9, 6))
    assert other.digest != QUERY.digest
    with pytest.raises(WireError, match="another query"):
        accept(ANSWER, other)


def test_an_answer_cannot_be_used_for_another_epoch_or_validator():
    later = sign_query(VALIDATOR, genesis=GENESIS, epoch=6, panel="segments", text_WT=TEXT_WT)
    neighbour = sign_query(OWNER, genesis=GENESIS, epoch=5, panel="segments", text_WT=TEXT_WT)
    for query in (later, neighbour):
        with pytest.raises(WireError, match="another query"):
            accept(ANSWER, query)


def test_an_answer_for_another_version_is_refused():
    with pytest.raises(WireError, match="another version"):
        accept(answered(version=bytes(32)))


def test_only_who_speaks_for_the_version_may_sign():
    accept(sign_answer(OPERATOR, query=QUERY.digest, version=VERSION, first=0, said=SAID))
    stranger = sign_answer(VALIDATOR, query=QUERY.digest, version=VERSION, first=0, said=SAID)
    with pytest.raises(WireError, match="does not speak"):
        accept(stranger)
    with pytest.raises(WireError, match="signature"):
        accept(replace(stranger, signer=OWNER.public))


def changed(**columns: object) -> Scores:
    return replace(SAID, **columns)


WRONG_CUTS = (
    np.where(SAID.cut_C == 9, 10, SAID.cut_C).astype(np.int32),
    np.where(SAID.cut_C == 1, -1, SAID.cut_C).astype(np.int32),
    np.where(SAID.cut_C == 4, 3, SAID.cut_C).astype(np.int32),
    SAID.cut_C[::-1].copy(),
)


@pytest.mark.parametrize(
    "said",
    [
        changed(log_probability_C=SAID.log_probability_C.astype(np.float64)),
        changed(log_probability_C=SAID.log_probability_C.astype(">f4")),
        changed(cut_C=SAID.cut_C.astype(object)),
        changed(log_probability_C=SAID.log_probability_C[None]),
        changed(log_probability_C=SAID.log_probability_C[:-1]),
        changed(start_W=SAID.start_W[:-1]),
        changed(start_W=SAID.start_W[1:]),
        changed(start_W=SAID.start_W[:0]),
        changed(start_W=np.array([0, 20, 10, 30, 36])),
        changed(start_W=SAID.start_W.astype(np.int32)),
        *(changed(cut_C=cut_C) for cut_C in WRONG_CUTS),
    ],
)
def test_scores_that_contradict_themselves_are_refused_though_signed(said):
    with pytest.raises(WireError, match="the answer"):
        accept(answered(said=said))


@pytest.mark.parametrize("value", [np.nan, 0.01, np.inf])
def test_what_is_no_probability_is_refused_though_signed(value):
    log_probability_C = SAID.log_probability_C.copy()
    log_probability_C[7] = value
    with pytest.raises(WireError, match="1 of 36 log-probabilities are above 0 or not a number"):
        accept(answered(said=changed(log_probability_C=log_probability_C)))


def test_windows_may_have_any_cuts_and_none():
    log_probability_C = np.array([0, -1, -np.inf], np.float32)
    cuts = Scores(np.array([2, 9, 0], np.int32), np.array([0, 2, 2, 3]), log_probability_C)
    accept(answered(said=cuts))


@pytest.mark.parametrize(
    "said", [UNIFORM_W256.astype(np.float64), UNIFORM_W256[:, :-1], UNIFORM_W256[0], UNIFORM_W256[None]]
)
def test_distributions_of_another_shape_are_refused_though_signed(said):
    with pytest.raises(WireError, match="expected float32"):
        accept(sign_distributions(said), PREFIXES)


def test_an_answer_of_another_panel_is_refused_though_signed():
    with pytest.raises(WireError, match="panel"):
        accept(sign_answer(OWNER, query=PREFIXES.digest, version=VERSION, first=0, said=SAID), PREFIXES)
    with pytest.raises(WireError, match="panel"):
        accept(answered(said=UNIFORM_W256))


def test_the_panel_is_signed():
    assert PREFIXES.digest != QUERY.digest
    with pytest.raises(WireError, match="signature"):
        check_query(replace(QUERY, panel="next_byte"), genesis=GENESIS)
    with pytest.raises(WireError, match="panel"):
        check_query(sign_query(VALIDATOR, genesis=GENESIS, epoch=5, panel="all", text_WT=TEXT_WT), genesis=GENESIS)


@pytest.mark.parametrize(("first", "windows"), [(-1, 1), (6, 1), (3, 4), (0, 7), (2**64, 1)])
def test_an_answer_for_windows_that_were_not_asked_is_refused_though_signed(first, windows):
    values_WE = np.full((windows, 8), -1.0, np.float32)
    signed = answered(first=0, said=byte_scores(values_WE))
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


def test_a_query_travels_without_the_digest_that_its_sender_computed() -> None:
    changed = TEXT_WT.copy()
    query = replace(QUERY, text_WT=changed)
    assert query.digest == QUERY.digest
    changed[0, 0] ^= 1
    received = pickle.loads(pickle.dumps(query))
    assert received.digest != QUERY.digest
    with pytest.raises(WireError, match="signature"):
        check_query(received, genesis=GENESIS)

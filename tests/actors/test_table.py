"""From answers to the table that is valued: who is in it, who is not, and why."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from actors.rows import Row
from actors.table import Asked, assemble
from actors.wire import Answer, sign_answer, sign_query
from ledger.extrinsics import BASELINE_MANIFEST
from ledger.keys import Keypair
from models.text.align import byte_scores
from models.text.windows import Windows
from models.value.errors import RoundError
from models.value.round import quantise

W, T = 8, 5


def keypair(name: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(name.encode()).digest())


KEYS = {uid: keypair(f"uid {uid}") for uid in range(5)}
OPERATOR = keypair("operator")
MEMBER = Row(b"m" * 32, uid=0, member=True, new=False, present=False)
HELD_MEMBER = Row(b"h" * 32, uid=1, member=True, new=False, present=True)
NEW = Row(b"n" * 32, uid=2, member=False, new=True, present=True)
OLD = Row(b"o" * 32, uid=3, member=False, new=False, present=True)
ROWS = (MEMBER, HELD_MEMBER, NEW, OLD)

TEXT_WT = np.random.default_rng(0).integers(0, 128, (W, T), dtype=np.uint8)
WINDOWS = Windows(
    text_WT=TEXT_WT,
    document_W=np.arange(W, dtype=np.int32),
    offset_W=np.zeros(W, dtype=np.int64),
    stratum_W=np.array([0, 1] * (W // 2), dtype=np.int16),
    fold_W=np.array([0, 0, 1, 1] * (W // 4), dtype=np.int8),
    document_hash_W=np.zeros((W, 32), dtype=np.uint8),
)
QUERY = sign_query(keypair("validator"), genesis=bytes(32), epoch=1, panel="segments", text_WT=TEXT_WT)
OTHER_QUERY = sign_query(keypair("another"), genesis=bytes(32), epoch=1, panel="segments", text_WT=TEXT_WT)
BASELINE_256 = np.log(np.arange(1, 257) / np.arange(1, 257).sum())


def values_of(row: Row) -> np.ndarray:
    """Log-probabilities that tell rows and windows apart."""
    return -(1.0 + row.uid + np.arange(W * (T - 1)).reshape(W, T - 1) / 100).astype(np.float32)


def answer(row: Row, first: int = 0, last: int = W, *, values_WE=None, key=None, query=QUERY) -> Answer:
    values_WE = values_of(row) if values_WE is None else values_WE
    return sign_answer(
        key or KEYS[row.uid],
        query=query.digest,
        version=row.manifest,
        first=first,
        said=byte_scores(values_WE[first:last]),
    )


def lay_out(answers: Sequence[Answer], *, rows=ROWS, failures=None, owners=None) -> Asked:
    return assemble(
        rows=rows,
        owners={uid: key.public for uid, key in KEYS.items()} if owners is None else owners,
        operator=OPERATOR.public,
        query=QUERY,
        windows=WINDOWS,
        baseline_256=BASELINE_256,
        strata=("a", "b"),
        answers=answers,
        failures=failures or {},
    )


def test_the_baseline_comes_first_then_the_rows_in_their_order_whatever_the_order_of_answers():
    asked = lay_out([answer(row) for row in reversed(ROWS)])
    assert asked.rows == ROWS
    assert asked.round_.manifests == (BASELINE_MANIFEST, *(row.manifest for row in ROWS))
    assert asked.round_.uid_N.tolist() == [-1, 0, 1, 2, 3]
    assert asked.round_.member_N.tolist() == [True, True, True, False, False]
    assert asked.round_.new_N.tolist() == [False, False, False, True, False]
    assert asked.failures == {}


def test_columns_are_what_was_answered_and_events_know_their_window():
    asked = lay_out([answer(row) for row in ROWS])
    matrix = asked.round_.matrix_NM
    np.testing.assert_array_equal(matrix[0], quantise(BASELINE_256[TEXT_WT[:, 1:]].ravel()))
    for index, row in enumerate(ROWS, start=1):
        np.testing.assert_array_equal(matrix[index], quantise(values_of(row)).ravel())
    for name in ("stratum", "document", "fold"):
        expected = np.repeat(getattr(WINDOWS, f"{name}_W"), T - 1)
        np.testing.assert_array_equal(getattr(asked.round_, f"{name}_M"), expected)
    assert asked.round_.bytes_M.tolist() == [1] * (W * (T - 1))


def test_who_answered_is_every_neuron_that_stands_for_a_version_in_the_table():
    assert lay_out([answer(row) for row in ROWS]).answered == {1, 2, 3}
    assert lay_out([answer(row) for row in ROWS if row is not NEW]).answered == {1, 3}


def test_batches_are_joined_in_any_order():
    parts = [answer(row, first, first + 2) for row in ROWS for first in (6, 0, 4, 2)]
    whole = lay_out([answer(row) for row in ROWS])
    np.testing.assert_array_equal(lay_out(parts).round_.matrix_NM, whole.round_.matrix_NM)


def test_answers_to_other_queries_are_none():
    answers = [answer(row) for row in ROWS if row is not OLD]
    asked = lay_out([*answers, answer(OLD, query=OTHER_QUERY)])
    assert OLD not in asked.rows
    assert asked.failures[3] == "invalid: 8 of 8 windows have no answer"


def test_a_missing_batch_leaves_the_version_out_with_the_reason():
    asked = lay_out([*(answer(row) for row in ROWS if row is not NEW), answer(NEW, 0, 3), answer(NEW, 4, 8)])
    assert asked.rows == (MEMBER, HELD_MEMBER, OLD)
    reason = "invalid: 1 of 8 windows have no answer"
    assert asked.failures == {2: reason}


def test_one_bad_batch_of_several_leaves_the_version_out():
    lie = values_of(OLD)
    lie[7, 3] = 0.5
    parts = [answer(OLD, 0, 4), answer(OLD, 4, 8, values_WE=lie)]
    asked = lay_out([*(answer(row) for row in ROWS if row is not OLD), *parts])
    assert OLD not in asked.rows
    assert set(asked.failures) == {3}


@pytest.mark.parametrize("wrong", [np.nan, 1e-2, np.inf])
def test_what_is_no_probability_costs_its_version_and_no_other(wrong):
    values_WE = values_of(NEW)
    values_WE[3, 1] = wrong
    others = [answer(row) for row in ROWS if row is not NEW]
    asked = lay_out([*others, answer(NEW, values_WE=values_WE)])
    assert asked.rows == (MEMBER, HELD_MEMBER, OLD)
    assert asked.failures[2].startswith("invalid: 1 of 40 log-probabilities are above 0 or not a number")
    np.testing.assert_array_equal(asked.round_.matrix_NM, lay_out(others).round_.matrix_NM)


def test_certainty_and_impossibility_are_probabilities():
    values_WE = values_of(NEW)
    values_WE[0, 0], values_WE[0, 1] = 0.0, -np.inf
    assert NEW in lay_out([*(answer(row) for row in ROWS if row is not NEW), answer(NEW, values_WE=values_WE)]).rows


def test_a_signature_of_another_peer_costs_the_version():
    asked = lay_out([*(answer(row) for row in ROWS if row is not NEW), answer(NEW, key=KEYS[3])])
    assert asked.failures[2] == "invalid: the answer is signed by a key that does not speak for the version"


def test_the_operator_answers_for_whose_publisher_is_gone():
    owners = {uid: key.public for uid, key in KEYS.items() if uid != MEMBER.uid}
    answers = [answer(row) for row in ROWS if row is not MEMBER]
    assert lay_out([*answers, answer(MEMBER, key=OPERATOR)], owners=owners).rows == ROWS
    assert MEMBER not in lay_out([*answers, answer(MEMBER)], owners=owners).rows


@pytest.mark.parametrize("missing", [MEMBER, HELD_MEMBER])
def test_when_a_member_cannot_be_asked_nobody_is_new(missing):
    asked = lay_out([answer(row) for row in ROWS if row is not missing], failures={missing.manifest: "late: slow"})
    assert not asked.round_.new_N.any()
    assert NEW in asked.rows, "it is measured all the same"
    assert asked.failures == ({missing.uid: "late: slow"} if missing.present else {})


def test_a_new_version_that_fails_leaves_the_other_new_ones():
    other = Row(b"p" * 32, uid=3, member=False, new=True, present=True)
    asked = lay_out([answer(MEMBER), answer(other)], rows=(MEMBER, NEW, other), failures={NEW.manifest: "dead: gone"})
    assert asked.rows == (MEMBER, other)
    assert asked.round_.new_N.tolist() == [False, False, True]


def test_the_pools_reason_stands_even_where_answers_came():
    asked = lay_out([answer(row) for row in ROWS], failures={OLD.manifest: "late: no answer within 2 deadlines"})
    assert asked.failures == {3: "late: no answer within 2 deadlines"}


def test_without_any_answer_the_baseline_is_valued_alone():
    asked = lay_out([])
    assert asked.rows == ()
    assert asked.round_.matrix_NM.shape == (1, W * (T - 1))
    assert set(asked.failures) == {1, 2, 3}


def test_too_little_text_is_an_error():
    one_fold = WINDOWS._replace(fold_W=np.zeros(W, dtype=np.int8))
    with pytest.raises(RoundError, match="fold 1"):
        assemble(
            rows=(),
            owners={},
            operator=OPERATOR.public,
            query=QUERY,
            windows=one_fold,
            baseline_256=BASELINE_256,
            strata=("a", "b"),
            answers=[],
            failures={},
        )

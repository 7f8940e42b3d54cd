"""Versions with unlike tokenizers on common events: who fixes them, who is refused, and who is measured aside."""

import numpy as np
import pytest

from actors.rows import Row
from actors.segments import bits_per_byte, lay_segments
from models.text.align import Scores, byte_scores
from models.text.windows import Windows
from models.value.round import quantise

W, T = 12, 97
TEXT_WT = np.random.default_rng(0).integers(97, 123, (W, T), dtype=np.uint8)
WINDOWS = Windows(
    text_WT=TEXT_WT,
    document_W=np.arange(W, dtype=np.int32),
    offset_W=np.zeros(W, dtype=np.int64),
    stratum_W=np.zeros(W, dtype=np.int16),
    fold_W=np.array([0, 1] * (W // 2), dtype=np.int8),
    document_hash_W=np.zeros((W, 32), dtype=np.uint8),
)
BASELINE_256 = np.full(256, -np.log(256.0))
BYTES_WE = -np.random.default_rng(1).exponential(2.0, (W, T - 1)).astype(np.float32)


def cut_every(step: int, first: int = 0) -> Scores:
    """A tokenizer with tokens of `step` bytes."""
    cuts = np.arange(first, T + 1, step, dtype=np.int32)
    log_probability_WC = -np.random.default_rng(step).exponential(step, (W, len(cuts))).astype(np.float32)
    log_probability_WC[:, 0] = 0.0
    return Scores(np.tile(cuts, W), np.arange(W + 1) * len(cuts), log_probability_WC.ravel())


def row(name: str, uid: int, kind: str) -> Row:
    return Row(name.encode().ljust(32), uid, member=kind == "member", new=kind == "new", present=True)


def lay(*asked: tuple[Row, Scores]):
    rows = [version for version, _ in asked]
    return lay_segments(rows, {version.manifest: scores for version, scores in asked}, WINDOWS, BASELINE_256)


def test_among_models_of_bytes_every_byte_from_the_second_on_is_an_event():
    laid = lay((row("member", 0, "member"), byte_scores(BYTES_WE)), (row("new", 1, "new"), byte_scores(2 * BYTES_WE)))
    np.testing.assert_array_equal(laid.window_M, np.repeat(np.arange(W), T - 1))
    np.testing.assert_array_equal(laid.offset_M, np.tile(np.arange(1, T), W))
    assert (laid.bytes_M == 1).all()
    np.testing.assert_array_equal(laid.matrix_NM[1], quantise(BYTES_WE.ravel()))
    np.testing.assert_array_equal(laid.matrix_NM[0], quantise(np.full(W * (T - 1), -np.log(256.0))))


def test_tokens_and_bytes_meet_where_both_cut():
    laid = lay((row("bytes", 0, "member"), byte_scores(BYTES_WE)), (row("tokens", 1, "new"), cut_every(4)))
    assert (laid.bytes_M == 4).all()
    assert laid.offset_M.min() == 4, "at 0 the model of bytes has no context"
    sums = quantise(BYTES_WE[:, 3 : 3 + 92].reshape(W, -1, 4).sum(axis=2, dtype=np.float64)).ravel()
    np.testing.assert_array_equal(laid.matrix_NM[1], sums)
    np.testing.assert_array_equal(laid.matrix_NM[0], quantise(np.full(len(sums), -4 * np.log(256.0))))
    assert laid.lost == {}


def test_a_newcomer_that_cuts_elsewhere_is_refused_and_moves_nobody():
    member, new = row("tokens", 0, "member"), row("odd", 1, "new")
    alone = lay((member, cut_every(4)))
    laid = lay((member, cut_every(4)), (new, cut_every(7)))
    assert laid.lost.keys() == {new.manifest}
    assert laid.lost[new.manifest].startswith("refused: coarse_tokenizer: ")
    assert laid.rows == (member,)
    np.testing.assert_array_equal(laid.matrix_NM, alone.matrix_NM)


@pytest.mark.parametrize("first", ["member", "newcomer"])
def test_a_member_stays_whichever_was_finer(first):
    """Of two that do not fit the coarser goes; but never a member for a newcomer."""
    member, new = row("coarse", 0, "member"), row("fine", 1, "new")
    asked = [(member, cut_every(11)), (new, cut_every(3))]
    laid = lay(*(asked if first == "member" else reversed(asked)))
    assert laid.rows == (member,)
    assert laid.lost.keys() == {new.manifest}


def test_tokens_of_over_sixteen_bytes_are_refused():
    new = row("words", 1, "new")
    laid = lay((row("bytes", 0, "member"), byte_scores(BYTES_WE)), (new, cut_every(24)))
    assert "coarse_tokenizer" in laid.lost[new.manifest]
    assert (laid.bytes_M == 1).all()


def test_who_is_only_measured_changes_no_event():
    member, old = row("bytes", 0, "member"), row("tokens", 1, "old")
    laid = lay((member, byte_scores(BYTES_WE)), (old, cut_every(4)))
    assert laid.rows == (member,)
    assert (laid.bytes_M == 1).all()
    assert laid.lost == {}
    assert laid.aside == {old: pytest.approx(bits_per_byte(cut_every(4)))}


def test_who_is_only_measured_and_fits_has_a_row():
    member, old = row("tokens", 0, "member"), row("bytes", 1, "old")
    laid = lay((member, cut_every(4)), (old, byte_scores(BYTES_WE)))
    assert laid.rows == (member,), "cuts at 0, where a model of bytes has no context, are events of the member's"
    laid = lay((member, cut_every(4, first=4)), (old, byte_scores(BYTES_WE)))
    assert laid.rows == (member, old)
    assert laid.aside == {}


def test_without_a_version_that_decides_the_baseline_cuts_everywhere():
    old = row("bytes", 1, "old")
    laid = lay((old, byte_scores(BYTES_WE)))
    assert laid.rows == (old,)
    assert (laid.bytes_M == 1).all()
    assert lay().matrix_NM.shape == (1, W * (T - 1))


def test_bits_per_byte_by_own_tokens():
    scores = byte_scores(BYTES_WE)
    assert bits_per_byte(scores) == pytest.approx(-BYTES_WE.mean() / np.log(2), rel=1e-6)
    silent = Scores(np.zeros(0, np.int32), np.zeros(W + 1, np.int64), np.zeros(0, np.float32))
    assert bits_per_byte(silent) == float("inf")

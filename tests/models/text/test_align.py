from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.text.align import Scores, align, baseline_row, byte_scores, ends_within

TEXTS = [b"The quick brown fox jumps.", "é€漢😀 né".encode(), b"ab", b"", b"x"]


def made(texts, cuts, values):
    """Scores from a list of cuts per window and one log-probability per cut, 0 at the first."""
    start_W = np.concatenate([[0], np.cumsum([len(row) for row in cuts])]).astype(np.int64)
    log_probability_C = np.asarray(values, np.float32).copy()
    log_probability_C[start_W[:-1][np.diff(start_W) > 0]] = 0
    return Scores(np.array([cut for row in cuts for cut in row], np.int32), start_W, log_probability_C)


@st.composite
def rounds(draw):
    texts = [
        text.encode()[draw(st.integers(0, 2)) :]
        for text in draw(st.lists(st.text("aé€漢😀 ", max_size=12), min_size=1, max_size=4))
    ]
    models = []
    for _ in range(draw(st.integers(1, 4))):
        cuts = [
            [0, *sorted(draw(st.sets(st.integers(1, len(text)), min_size=len(text) * 2 // 3))), len(text)]
            if text
            else [0]
            for text in texts
        ]
        cuts = [sorted(set(row)) for row in cuts]
        values = [-draw(st.integers(0, 64)) / 8 for row in cuts for _ in row]
        models.append(made(texts, cuts, values))
    return texts, models


def between(scores, window, first, last):
    """What the model says of the window's bytes from cut `first` to cut `last`, term by term."""
    part = slice(scores.start_W[window], scores.start_W[window + 1])
    pairs = zip(scores.cut_C[part], scores.log_probability_C[part], strict=True)
    return sum(float(value) for cut, value in pairs if first < cut <= last)


@settings(max_examples=60, deadline=None)
@given(rounds())
def test_every_segment_is_the_sum_of_the_models_own_terms(case):
    texts, models = case
    segments = align(models, texts)
    assert sorted([*segments.kept, *segments.refused]) == list(range(len(models)))
    for row, index in enumerate(segments.kept):
        for event in range(len(segments.bytes_M)):
            first = segments.offset_M[event]
            expected = between(models[index], segments.window_M[event], first, first + segments.bytes_M[event])
            assert segments.log_probability_NM[row, event] == expected


@settings(max_examples=60, deadline=None)
@given(rounds())
def test_events_are_all_between_common_cuts_on_character_boundaries(case):
    texts, models = case
    segments = align(models, texts)
    found = set(zip(segments.window_M.tolist(), segments.offset_M.tolist(), segments.bytes_M.tolist(), strict=True))
    expected = set()
    for window, text in enumerate(texts):
        common = set.intersection(
            set(range(len(text) + 1) if segments.kept else ()),
            *(
                set(models[index].cut_C[models[index].start_W[window] : models[index].start_W[window + 1]].tolist())
                for index in segments.kept
            ),
        )
        whole = sorted(cut for cut in common if is_boundary(text, cut))
        expected |= {(window, a, b - a) for a, b in pairwise(whole)}
    assert found == expected


def is_boundary(text, cut):
    """By Python's decoder: what is before the cut ends with a whole character, and what follows begins with one."""
    before = text[:cut].lstrip(bytes(range(0x80, 0xC0)))
    try:
        before.decode()
    except UnicodeDecodeError:
        return False
    return cut == len(text) or text[cut] & 0xC0 != 0x80


@settings(max_examples=40, deadline=None)
@given(rounds(), st.randoms(use_true_random=False))
def test_models_in_another_order_give_rows_in_another_order(case, random):
    texts, models = case
    order = list(range(len(models)))
    random.shuffle(order)
    here, there = align(models, texts), align([models[index] for index in order], texts)
    assert {order[index] for index in there.kept} == set(here.kept)
    row_of = {order[index]: row for row, index in enumerate(there.kept)}
    for row, index in enumerate(here.kept):
        np.testing.assert_array_equal(here.log_probability_NM[row], there.log_probability_NM[row_of[index]])


def test_models_of_bytes_on_ascii_give_the_byte_events():
    texts = [bytes(range(32, 64)), bytes(range(64, 96))]
    rows = -np.random.default_rng(0).exponential(size=(3, 2, 31)).astype(np.float32)
    segments = align([byte_scores(row) for row in rows], texts)
    np.testing.assert_array_equal(segments.log_probability_NM, rows.reshape(3, -1).astype(np.float64))
    np.testing.assert_array_equal(segments.offset_M, np.tile(np.arange(1, 32), 2))
    np.testing.assert_array_equal(segments.window_M, np.repeat([0, 1], 31))
    assert set(segments.bytes_M.tolist()) == {1}


def test_models_of_bytes_are_summed_over_characters():
    text = "é€😀".encode()
    segments = align([byte_scores(-np.ones((1, len(text) - 1), np.float32))], [text])
    assert segments.offset_M.tolist() == [2, 5]
    assert segments.bytes_M.tolist() == [3, 4]
    assert segments.log_probability_NM.tolist() == [[-3.0, -4.0]]


def test_a_window_that_ends_within_a_character_has_no_event_there():
    text = "a€".encode()[:-1]
    assert ends_within(text)
    assert not ends_within("a€".encode())
    assert not ends_within(b"")
    assert len(align([byte_scores(-np.ones((1, 2), np.float32))], [text]).bytes_M) == 0


def test_impossible_and_undefined_stay_in_their_segments():
    scores = made([b"abcdef"], [[0, 1, 2, 3, 4, 5, 6]], [0, -1, -np.inf, -1, np.nan, -1, -1])
    other = made([b"abcdef"], [[0, 1, 3, 4, 5, 6]], [0, -1, -1, -1, -1, -1])
    row = align([scores, other], [b"abcdef"]).log_probability_NM[0]
    np.testing.assert_array_equal(row, [-1, -np.inf, np.nan, -1, -1])


def test_a_tokenizer_that_leaves_too_few_events_is_refused_with_its_figures():
    texts = [b"word " * 20]
    fine = byte_scores(-np.ones((1, 99), np.float32))
    coarse = made(texts, [[0, 20, 40, 60, 80, 100]], -np.ones(6))
    segments = align([coarse, fine], texts)
    assert segments.kept == (1,)
    assert segments.refused[0].code == "coarse_tokenizer"
    assert "5 events in 100 bytes" in segments.refused[0].sentence
    assert len(segments.bytes_M) == 99


def test_a_tokenizer_beside_models_of_bytes_is_kept():
    texts = [b"word " * 20]
    fine = byte_scores(-np.ones((1, 99), np.float32))
    ordinary = made(texts, [list(range(0, 101, 5))], -np.ones(21))
    segments = align([fine, ordinary], texts)
    assert not segments.refused
    np.testing.assert_array_equal(segments.log_probability_NM, [[-5] * 19, [-1] * 19])


def test_copies_of_a_costly_tokenizer_do_not_shield_each_other():
    texts = [b"word " * 40]
    fine = made(texts, [list(range(0, 201, 5))], -np.ones(41))
    coarse = made(texts, [list(range(0, 201, 10))], -np.ones(21))
    segments = align([coarse, fine, coarse, fine], texts)
    assert segments.kept == (1, 3)
    assert set(segments.refused) == {0, 2}
    assert "20 events in 200 bytes, without it 40" in segments.refused[0].sentence


def test_tokenizers_that_agree_nowhere_leave_a_round_for_the_others():
    texts = [b"abcd" * 50]
    grids = [made(texts, [list(range(shift, 201, 4))], -np.ones(len(range(shift, 201, 4)))) for shift in (0, 0, 1, 2)]
    segments = align(grids, texts)
    assert len(segments.kept) >= 1
    assert len(segments.bytes_M) * 16 >= 200


def test_the_baseline_is_summed_over_the_bytes_of_an_event():
    baseline_256 = np.log(np.random.default_rng(1).dirichlet(np.ones(256)))
    scores = [byte_scores(-np.ones((1, len(text) - 1), np.float32)) for text in TEXTS[:1]]
    segments = align(scores, TEXTS[:1])
    expected = baseline_256[np.frombuffer(TEXTS[0][1:], np.uint8)]
    np.testing.assert_allclose(baseline_row(segments, TEXTS[:1], baseline_256), expected)
    text = "é€😀".encode()
    segments = align([byte_scores(-np.ones((1, len(text) - 1), np.float32))], [text])
    expected = [baseline_256[list(part)].sum() for part in (text[2:5], text[5:9])]
    np.testing.assert_allclose(baseline_row(segments, [text], baseline_256), expected)


def test_no_models_and_no_text_give_no_events():
    for scores, texts in (([], [b"abc"]), ([], []), ([byte_scores(np.zeros((0, 3), np.float32))], [])):
        segments = align(scores, texts)
        assert segments.log_probability_NM.shape == (len(scores), 0)
        assert baseline_row(segments, texts, np.zeros(256)).shape == (0,)


def test_cuts_of_other_texts_are_an_error():
    with pytest.raises(ValueError, match="2 windows"):
        align([byte_scores(np.zeros((2, 3), np.float32))], [b"abcd"])
    with pytest.raises(ValueError, match="ascend"):
        align([byte_scores(np.zeros((1, 4), np.float32))], [b"abc"])

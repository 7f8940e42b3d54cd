import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import TextError
from models.text.windows import Draw, allot_windows, assign_folds, draw_cells, draw_pages, draw_windows


def test_a_draw_is_a_function_of_the_seed(corpus):
    first = draw_windows(corpus, b"seed", windows=40, window_bytes=64)
    again = draw_windows(corpus, b"seed", windows=40, window_bytes=64)
    other = draw_windows(corpus, b"other", windows=40, window_bytes=64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.ids() != other.ids()


def test_a_window_is_a_slice_of_one_held_out_document(corpus):
    windows = draw_windows(corpus, b"seed", windows=60, window_bytes=64)
    for number, (digest, offset, length) in enumerate(windows.ids()):
        document = int(windows.document_W[number])
        assert corpus.held_out_D[document]
        assert corpus.document_hash(document) == digest
        assert bytes(windows.text_WT[number]) == bytes(corpus.bytes_of(document)[offset : offset + length])
        assert windows.stratum_W[number] == corpus.stratum_of(document)


def test_windows_of_one_draw_never_overlap(corpus):
    windows = draw_windows(corpus, b"seed", windows=300, window_bytes=64)
    taken = {}
    for document, offset in zip(windows.document_W, windows.offset_W, strict=True):
        assert all(abs(int(offset) - other) >= 64 for other in taken.get(int(document), []))
        taken.setdefault(int(document), []).append(int(offset))


def test_every_stratum_gives_windows_to_both_folds(corpus):
    windows = draw_windows(corpus, b"seed", windows=60, window_bytes=64)
    for stratum in range(len(corpus.strata)):
        folds = windows.fold_W[windows.stratum_W == stratum]
        assert len(folds) >= 15
        assert set(folds) == {0, 1}
    by_document = {}
    for document, fold in zip(windows.document_W, windows.fold_W, strict=True):
        by_document.setdefault(int(document), set()).add(int(fold))
    assert all(len(folds) == 1 for folds in by_document.values())


def test_more_windows_than_there_are_is_an_error(corpus):
    with pytest.raises(TextError, match="windows of 64 bytes"):
        draw_windows(corpus, b"seed", windows=10**5, window_bytes=64)


def test_pages_are_training_text_of_the_named_strata(corpus):
    laws = {corpus.bytes_of(document).tobytes() for document in corpus.training if corpus.stratum_of(document) == 0}
    pages = draw_pages(corpus, b"seed", strata=["laws"], pages=50, page_bytes=96)
    assert pages.shape == (50, 96)
    assert all(any(page.tobytes() in text for text in laws) for page in pages)
    assert np.array_equal(pages, draw_pages(corpus, b"seed", strata=["laws"], pages=50, page_bytes=96))


def test_pages_begin_again_where_the_text_ends(corpus):
    cells = int((corpus.length_D[corpus.training] // 96).sum())
    pages = draw_pages(corpus, b"seed", strata=None, pages=cells + 10, page_bytes=96)
    assert len(pages) == cells + 10


@pytest.mark.parametrize(("strata", "page_bytes"), [(["absent"], 96), (["laws"], 10**6)])
def test_pages_that_cannot_be_are_an_error(corpus, strata, page_bytes):
    with pytest.raises(TextError):
        draw_pages(corpus, b"seed", strata=strata, pages=1, page_bytes=page_bytes)


def test_the_integers_are_pinned():
    """Another stream would draw other windows than those on the ledger."""
    drawn = Draw(b"domain", b"seed", 7).integers(3, 4)
    stream = hashlib.shake_256(b"domain" + bytes([0, 0, 0, 7, 0, 0, 0, 3]) + b"seed").digest(32)
    assert drawn.tolist() == [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(4)]


lengths = st.lists(st.integers(0, 200), min_size=1, max_size=20).filter(lambda found: max(found) >= 16)


@given(lengths, st.binary(max_size=8), st.integers(1, 60))
def test_drawn_cells_lie_within_their_documents(length_D, seed, count):
    length_D = np.array(length_D)
    rows, offsets = draw_cells(length_D, Draw(b"", seed, 0), count, 16)
    assert len(rows) == len(offsets) == count
    assert (offsets >= 0).all()
    assert (offsets + 16 <= length_D[rows]).all()
    whole = min(count, int((length_D // 16).sum()))
    assert len(set(zip(rows[:whole].tolist(), offsets[:whole].tolist(), strict=True))) == whole


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 300))
def test_allotted_windows_are_exact_and_there(cells, windows):
    windows = min(windows, sum(cells))
    given_windows = allot_windows(cells, windows)
    assert sum(given_windows) == windows
    least = windows // (2 * len(cells))
    assert all(min(least, number) <= has <= number for has, number in zip(given_windows, cells, strict=True))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=60), st.binary(max_size=4))
def test_folds_are_balanced_to_one_document(drawn, seed):
    windows = [(stratum, bytes([document, stratum])) for stratum, document in drawn]
    fold_W = assign_folds(windows, seed)
    for stratum in {stratum for stratum, _ in windows}:
        sizes = [windows.count(window) for window in set(windows) if window[0] == stratum]
        difference = sum(1 - 2 * int(fold) for (s, _), fold in zip(windows, fold_W, strict=True) if s == stratum)
        assert abs(difference) <= max(sizes)

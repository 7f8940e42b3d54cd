import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import TextError
from models.text.corpus import RECORD_FILE, TEXT_FILE, Corpus
from models.text.data import Data
from models.text.prepare import OTHER, SMALL_STRATUM_DOCUMENTS, merge_strata, prepare_corpus


def test_every_document_is_there_once_in_one_split(corpus, text_folder):
    written = {path.read_bytes() for path in text_folder.rglob("*.txt")}
    assert {corpus.bytes_of(document).tobytes() for document in range(corpus.document_count)} == written
    assert sorted([*corpus.held_out, *corpus.training]) == list(range(corpus.document_count))
    assert 0.1 < len(corpus.held_out) / corpus.document_count < 0.3


def test_a_small_stratum_goes_into_the_largest(corpus):
    assert corpus.strata == ("laws", "plays")
    assert corpus.known_strata(["notes", "laws", "plays", "absent"]) == ("plays", "laws")


def test_the_split_follows_from_content_alone(corpus, text_folder, tmp_path):
    for path in (text_folder / "plays").iterdir():
        (tmp_path / f"renamed {path.name}").write_bytes(path.read_bytes())
    alone = prepare_corpus(Data(paths=(str(tmp_path),)), tmp_path / ".corpus", window_bytes=64, minimum_windows=1)
    split = {corpus.document_hash(document): corpus.held_out_D[document] for document in range(corpus.document_count)}
    for document in range(alone.document_count):
        assert alone.held_out_D[document] == split[alone.document_hash(document)]


def test_duplicates_and_short_documents_are_left_out(text_folder, tmp_path):
    extra = tmp_path / "extra"
    extra.mkdir()
    first = next((text_folder / "laws").iterdir())
    (extra / "again.txt").write_bytes(first.read_bytes())
    (extra / "short.txt").write_text("short")
    corpus = prepare_corpus(Data(paths=(str(text_folder), str(extra))), tmp_path / "corpus", window_bytes=64)
    assert corpus.describe().skipped == {"seen before": 1, "too short": 1}
    assert "1 seen before" in str(corpus.describe())


def test_the_baseline_is_the_smoothed_frequencies_of_the_training_text(corpus):
    counts = np.ones(256)
    for document in corpus.training:
        counts += np.bincount(corpus.bytes_of(document), minlength=256)
    np.testing.assert_allclose(np.exp(corpus.baseline_log_probability()), counts / counts.sum(), rtol=1e-12)


def test_an_unchanged_source_is_not_read_twice_and_a_changed_one_is(tmp_path, text_folder):
    data, folder = Data(paths=(str(text_folder),)), tmp_path / "corpus"
    first = prepare_corpus(data, folder, window_bytes=64)
    written = (folder / TEXT_FILE).stat().st_mtime_ns
    assert prepare_corpus(data, folder, window_bytes=64).fingerprint == first.fingerprint
    assert (folder / TEXT_FILE).stat().st_mtime_ns == written
    (folder / RECORD_FILE).write_bytes(b"damaged")
    assert prepare_corpus(data, folder, window_bytes=64).fingerprint == first.fingerprint
    assert (
        prepare_corpus(Data(data.paths, held_out_share=0.3), folder, window_bytes=64).fingerprint != first.fingerprint
    )
    assert sorted(path.name for path in folder.iterdir()) == [TEXT_FILE, RECORD_FILE]


def test_a_corpus_travels_as_its_folder(corpus):
    travelled = pickle.loads(pickle.dumps(corpus))
    assert travelled.fingerprint == corpus.fingerprint
    assert bytes(travelled.bytes_of(3)) == bytes(corpus.bytes_of(3))


def test_text_is_shared_and_read_only(corpus):
    assert not corpus.bytes_of(0).flags.writeable
    with pytest.raises(IndexError):
        corpus.bytes_of(corpus.document_count)


def test_opening_what_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(TextError, match="prepare it again"):
        Corpus.open(tmp_path)


def make_empty(folder):
    pass


def make_binary(folder):
    (folder / "a.bin").write_bytes(bytes(range(256)))


def make_few(folder):
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"document {number} " * 20)


def make_many_short(folder):
    for number in range(400):
        (folder / f"{number}.txt").write_text(f"document {number} " * 8)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_empty, "no usable text"),
        (make_binary, "1 not UTF-8"),
        (make_few, "held-out documents, at least 40"),
        (make_many_short, "bytes of training text"),
    ],
)
def test_too_little_text_is_one_line_and_leaves_nothing(tmp_path, make, sentence):
    source, folder = tmp_path / "source", tmp_path / "corpus"
    source.mkdir()
    make(source)
    with pytest.raises(TextError, match=sentence) as error:
        prepare_corpus(Data(paths=(str(source),)), folder, window_bytes=64)
    assert error.value.field == "data.paths"
    assert "\n" not in str(error.value)
    assert not list(folder.iterdir())


def test_too_few_windows_are_refused_before_the_first_epoch(text_folder, tmp_path):
    with pytest.raises(TextError, match="windows of held-out text, at least 9,999"):
        prepare_corpus(Data(paths=(str(text_folder),)), tmp_path, window_bytes=64, minimum_windows=9999)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_merged_strata_have_enough_or_nothing_could(held_out_documents):
    sources = [f"source {number}" for number in range(len(held_out_documents))]
    strata, stratum_of_source = merge_strata(sources, held_out_documents)
    assert len(stratum_of_source) == len(sources)
    assert set(stratum_of_source) == set(range(len(strata)))
    held = [0] * len(strata)
    for source, stratum in enumerate(stratum_of_source):
        held[stratum] += held_out_documents[source]
        if held_out_documents[source] >= SMALL_STRATUM_DOCUMENTS and len(sources) > 1:
            assert strata[stratum] == sources[source]
    assert len(strata) == 1 or min(held) >= SMALL_STRATUM_DOCUMENTS
    assert set(strata) <= {*sources, OTHER}

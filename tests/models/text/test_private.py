"""Private text: all of it is held out, nothing else is, and nobody trains on it."""

import numpy as np
import pytest

from models.errors import TextError
from models.text.data import Data
from models.text.documents import list_sources
from models.text.prepare import prepare_corpus
from models.text.windows import draw_pages, draw_windows


@pytest.fixture
def private_folder(tmp_path, text_folder):
    """Sixty documents that are not public, and one that is also public."""
    folder = tmp_path / "secret" / "plays"
    folder.mkdir(parents=True)
    for number in range(60):
        (folder / f"{number}.txt").write_text(f"nobody has seen the document of number {number}, not even once. " * 8)
    public = next((text_folder / "laws").iterdir())
    (folder / "leak.txt").write_bytes(public.read_bytes())
    return folder.parent


def test_private_text_is_held_out_and_nothing_else_is(private_folder, text_folder, tmp_path):
    data = Data(paths=(str(text_folder),), private=(str(private_folder),))
    corpus = prepare_corpus(data, tmp_path / "corpus", window_bytes=64, minimum_windows=64)
    assert corpus.private
    private = {path.read_bytes() for path in private_folder.rglob("*.txt")}
    assert {corpus.bytes_of(document).tobytes() for document in corpus.held_out} == private
    training = {corpus.bytes_of(document).tobytes() for document in corpus.training}
    public = {path.read_bytes() for path in text_folder.rglob("*.txt")}
    assert training == public - private, "what is in both is private"
    assert "plays" in corpus.strata, "strata of one name are one stratum"


def test_nobody_trains_on_private_text(private_folder, text_folder, tmp_path):
    data = Data(paths=(str(text_folder),), private=(str(private_folder),))
    corpus = prepare_corpus(data, tmp_path / "corpus", window_bytes=64)
    pages = draw_pages(corpus, b"seed", strata=None, pages=200, page_bytes=64)
    assert not any(b"nobody has seen" in page.tobytes() for page in pages)
    windows = draw_windows(corpus, b"seed", windows=64, window_bytes=64)
    assert np.isin(windows.document_W, corpus.held_out).all()


def test_public_text_is_no_private_text(corpus):
    assert not corpus.private


def test_mistakes_are_named_by_the_field(text_folder, tmp_path):
    with pytest.raises(TextError) as absent:
        list_sources(Data(private=(str(tmp_path / "absent"),)))
    assert absent.value.field == "data.private"
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "one.txt").write_text("a single document " * 20)
    data = Data(paths=(str(text_folder),), private=(str(tmp_path / "few"),))
    with pytest.raises(TextError, match="1 held-out documents, at least 40") as few:
        prepare_corpus(data, tmp_path / "corpus", window_bytes=64)
    assert few.value.field == "data.private"

"""Windows are cut to whole characters, and drawn by their seed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.study.drawing import draw_study, whole_characters
from cluster.study.settings import Study
from models.text.data import Data
from models.text.prepare import prepare_corpus


@given(st.text(), st.integers(0, 8), st.integers(0, 40))
def test_only_parts_of_characters_are_lost(text: str, first: int, length: int) -> None:
    content = text.encode()
    part = content[first : first + length]
    whole = whole_characters(part)
    assert whole in part
    assert len(part) - len(whole) <= 6
    assert whole.decode() in text


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    for number in range(400):
        path = folder / ("greek" if number % 2 else "latin") / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(("αβγδε ζηθ " if number % 2 else "some words ") * 40 + str(number))
    return folder


def test_a_draw_follows_its_seed(text: Path, tmp_path: Path) -> None:
    settings = Study(data=Data(paths=(str(text),)), windows=32, window_bytes=65)
    corpus = prepare_corpus(settings.data, tmp_path / "corpus", window_bytes=65, minimum_windows=32)
    windows, texts = draw_study(corpus, settings)
    assert len(texts) == len(windows.text_WT) == 32
    assert all(len(text.decode().encode()) >= 59 for text in texts)
    assert draw_study(corpus, settings)[1] == texts
    assert draw_study(corpus, Study(data=settings.data, windows=32, window_bytes=65, seed=1))[1] != texts

"""Memory that really runs out: the process gets a few MiB more than it has, and no failure is made up."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from models.errors import MemoryFull
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import Hosted, load_hosted
from models.host.library import Library
from models.host.next_byte import next_byte
from models.host.score import score_windows
from models.store import Store

SMALL = Architecture("llama", 64, 1, 1, intermediate=512, context=1 << 16)
Limit = Callable[[int], AbstractContextManager[None]]
LARGE = Architecture("llama", 1024, 1, 1, context=64)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for name, architecture in (("small", SMALL), ("large", LARGE)):
        save_model(build_model(architecture, 1), folder / name)
    return {name: folder / name for name in ("small", "large")}


@pytest.fixture
def small(folders: dict[str, Path]) -> Hosted:
    return load_hosted(folders["small"])


def texts_of(count: int, length: int) -> list[bytes]:
    return [bytes(row) for row in np.random.default_rng(0).integers(0, 256, (count, length)).astype(np.uint8)]


@pytest.mark.parametrize("ask", ["scores", "next byte"])
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_later_ones_are_as_small(
    small: Hosted, ask: str, little_memory: Limit
) -> None:
    texts, tokens = texts_of(256, 129), 1 << 15

    def answers(batch_tokens: int | None = None) -> np.ndarray:
        if ask == "scores":
            return score_windows(small, texts, batch_tokens=batch_tokens).log_probability_C
        return next_byte(small, texts, batch_tokens=batch_tokens)

    expected = answers()
    assert not small.note
    with little_memory(48):
        found = answers(tokens)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert small.batch_tokens is not None
    assert 256 <= small.batch_tokens < tokens
    assert small.note == f"batches of at most {small.batch_tokens:,} tokens: this machine's memory is full"
    limit = small.batch_tokens
    answers(tokens)
    assert small.batch_tokens == limit, "what did not fit is not tried again"


def test_a_text_that_does_not_fit_alone_is_told(small: Hosted, little_memory: Limit) -> None:
    with little_memory(8), pytest.raises(MemoryFull, match="memory is full: a text of 32,767 tokens does not fit"):
        score_windows(small, texts_of(1, 1 << 15))
    assert len(score_windows(small, texts_of(1, 129)).log_probability_C) == 129


def test_a_version_that_does_not_fit_is_told_and_others_answer(
    folders: dict[str, Path], tmp_path: Path, little_memory: Limit
) -> None:
    store = Store(tmp_path)
    small, large = (store.put_folder(folders[name]).hash for name in ("small", "large"))
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    library.hosted(small)
    store.materialize(large)
    with little_memory(24):
        with pytest.raises(MemoryFull, match=r"memory is full: a version of \d+\.\d MiB does not fit"):
            library.hosted(large)
        assert len(score_windows(library.hosted(small), texts_of(1, 129)).log_probability_C) == 129
    assert library.hosted(large).parameters > 1 << 23

"""From scores to values, without Ray: a matrix in a file values as one in memory, and who stands out is told."""

from pathlib import Path

import numpy as np
import pytest

from actors.score_file import ScoreFacts
from cluster.errors import ClusterError
from cluster.study.candidates import Candidate
from cluster.study.drawing import draw_study
from cluster.study.settings import Study
from cluster.study.valuing import Valued, align_scores, value_models
from models.text.align import Scores, byte_scores
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import Windows

SETTINGS = {"windows": 40, "window_bytes": 65}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Windows, list[bytes]]:
    folder = tmp_path_factory.mktemp("drawn")
    random = np.random.default_rng(0)
    for number in range(400):
        path = folder / "text" / ("one" if number % 2 else "two") / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(random.integers(97, 122, 400, dtype=np.uint8)))
    settings = Study(data=Data(paths=(str(folder / "text"),)), **SETTINGS)
    corpus = prepare_corpus(settings.data, folder / "corpus", window_bytes=65, minimum_windows=40)
    return corpus, *draw_study(corpus, settings)


def answers(seed: int) -> Scores:
    """A model that is better than byte frequencies somewhere, and worse elsewhere."""
    random = np.random.default_rng(seed)
    return byte_scores(np.log(random.uniform(0.005, 0.3, (40, 64))).astype(np.float32))


def value(drawn: tuple[Corpus, Windows, list[bytes]], scores: dict[int, Scores], file: Path, limit_mib: int) -> Valued:
    corpus, windows, texts = drawn
    aligned = align_scores(scores, texts, windows, corpus, file=file, limit_mib=limit_mib)
    assert file.exists() == (limit_mib == 0)
    assert isinstance(aligned.log_probability_NM, np.memmap) == (limit_mib == 0)
    number = max(scores) + 2
    candidates = [Candidate(f"model-{index}", Path(f"/models/{index}"), bytes(32)) for index in range(number)]
    facts = dict.fromkeys(scores, ScoreFacts(100, 64, 2.0))
    errors = {index: "late: no answer" for index in range(number) if index not in scores} | dict(aligned.errors)
    return value_models(candidates, facts, dict.fromkeys(scores, 5000), errors, aligned, corpus.strata, len(texts))


def test_a_matrix_in_a_file_values_as_one_in_memory(drawn: tuple[Corpus, Windows, list[bytes]], tmp_path: Path) -> None:
    scores = {0: answers(1), 2: answers(2), 3: answers(3)}
    valued = value(drawn, scores, tmp_path / "matrix.npy", 1)
    assert value(drawn, scores, tmp_path / "matrix.npy", 0) == valued
    assert sum(model.share_bits for model in valued.models) == pytest.approx(valued.gain, abs=1e-9)
    assert sum(model.new_bits for model in valued.models) + valued.refit == pytest.approx(valued.gain, abs=1e-9)
    assert [model.error for model in valued.models] == [None, "late: no answer", None, None, "late: no answer"]
    assert valued.models[0].tokens_per_second == 2500
    assert set(valued.models[0].weight) == set(drawn[0].strata)


def test_who_knows_windows_or_gives_nothing_a_chance_is_told(
    drawn: tuple[Corpus, Windows, list[bytes]], tmp_path: Path
) -> None:
    knowing, wrong = answers(1), answers(2)
    knowing.log_probability_C[:65] = 0.0
    wrong.log_probability_C[100] = -np.inf
    valued = value(drawn, {0: knowing, 1: wrong}, tmp_path / "matrix.npy", 1)
    assert [model.looked_up for model in valued.models] == [1, 0, 0]
    assert valued.models[1].bits_per_byte is None
    assert valued.models[1].error is None


def test_tokens_too_long_for_all_leave_no_model(drawn: tuple[Corpus, Windows, list[bytes]], tmp_path: Path) -> None:
    coarse = Scores(
        np.tile(np.array([0, 32, 64], np.int32), 40), np.arange(41, dtype=np.int64) * 3, np.full(120, -1.0, np.float32)
    )
    corpus, windows, texts = drawn
    with pytest.raises(ClusterError, match="coarse_tokenizer"):
        align_scores({0: coarse}, texts, windows, corpus, file=tmp_path / "m", limit_mib=1)

"""Files of scores: what is written is read again, parts join, damage is no answer."""

from pathlib import Path

import numpy as np

from actors.score_file import ScoreFacts, join_files, read_scores, write_scores
from models.text.align import Scores, byte_scores


def make(windows: int, seed: int) -> tuple[Scores, ScoreFacts]:
    random = np.random.default_rng(seed)
    return byte_scores(-random.random((windows, 6)).astype(np.float32)), ScoreFacts(10, 512, 0.5)


def test_what_is_written_is_read_again_without_a_copy(tmp_path: Path) -> None:
    scores, facts = make(5, 1)
    scores.log_probability_C[3] = -np.inf
    write_scores(tmp_path / "a.arrow", scores, facts)
    found = read_scores(tmp_path / "a.arrow")
    assert found is not None
    assert found[1] == facts
    for name in ("cut_C", "start_W", "log_probability_C"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(scores, name))
        assert not getattr(found[0], name).flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]


def test_parts_join_in_their_order() -> None:
    scores, _ = make(7, 2)
    whole = scores.log_probability_C.reshape(7, 7)[:, 1:]
    joined, facts = join_files([(byte_scores(whole[:3]), make(3, 1)[1]), (byte_scores(whole[3:]), make(4, 1)[1])])
    np.testing.assert_array_equal(joined.start_W, scores.start_W)
    np.testing.assert_array_equal(joined.cut_C, scores.cut_C)
    np.testing.assert_array_equal(joined.log_probability_C, scores.log_probability_C)
    assert facts == ScoreFacts(10, 512, 1.0)


def test_a_damaged_or_missing_file_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    assert read_scores(path) is None
    write_scores(path, *make(5, 1))
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-20]):
        path.write_bytes(content)
        assert read_scores(path) is None

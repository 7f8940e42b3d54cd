"""The models of an evaluation: unique names in their order, and keys by content."""

import shutil
from pathlib import Path

import pytest

from cluster.study.candidates import hash_texts, list_candidates, unique_names
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model

TEXTS = hash_texts([b"some text"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(build_model(Architecture("llama", 16, 1, 2), seed=1), tmp_path / "a" / "model")
    return tmp_path / "a" / "model"


def test_names_are_unique_and_in_order() -> None:
    paths = [Path("x/model"), Path("y/model"), Path("z/other"), Path("w/model"), Path("v/model-2")]
    assert unique_names(paths) == ["model", "model-3", "other", "model-4", "model-2"]


def test_a_key_follows_content_windows_and_device_and_no_path(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "b" / "model")
    link = tmp_path / "link"
    link.symlink_to(folder)
    first, second, third = list_candidates([folder, copy, link], TEXTS, "cpu")
    assert first.key == second.key == third.key
    assert [first.name, second.name, third.name] == ["model", "model-2", "link"]
    assert list_candidates([folder], hash_texts([b"other text"]), "cpu")[0].key != first.key
    assert list_candidates([folder], TEXTS, "cuda")[0].key != first.key
    config = copy / "config.json"
    config.write_text(config.read_text() + " ")
    assert list_candidates([copy], TEXTS, "cpu")[0].key != first.key


def test_what_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for candidate in list_candidates([tmp_path / "nowhere", tmp_path / "empty"], TEXTS, "cpu"):
        assert candidate.key == b""
        assert candidate.error is not None
        assert str(candidate.folder) in candidate.error

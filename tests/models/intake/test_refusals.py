"""Hostile and broken submissions: each is refused with its own code before anything of it is loaded."""

import shutil
from pathlib import Path

import pytest

from models.errors import ModelRefused, StoreError
from models.intake.check import check_submission
from tests.models.intake.architectures import make
from tests.models.intake.hostile import CONFIGURED, HEADED, LISTED, QUOTAS

CASES = LISTED | CONFIGURED | HEADED


@pytest.fixture(scope="module")
def llama(tmp_path_factory, one_thread) -> Path:
    return make("llama", tmp_path_factory.mktemp("llama"))


def no_base(manifest_hash: bytes) -> Path:
    raise StoreError("no such version")


def check(folder: Path):
    return check_submission(folder, quotas=QUOTAS, panel="segments", window_bytes=128, base=no_base)


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_its_code(tmp_path, llama, case, monkeypatch):
    code, change = CASES[case]
    monkeypatch.setattr("models.intake.check.try_model", lambda question: pytest.fail("it was loaded"))
    folder = shutil.copytree(llama, tmp_path / "model")
    change(folder)
    with pytest.raises(ModelRefused) as refused:
        check(folder)
    assert refused.value.code == code
    assert str(tmp_path) not in refused.value.sentence
    assert "\n" not in refused.value.sentence
    assert len(refused.value.sentence) < 500


def test_a_file_beside_the_weights_has_a_size_of_its_own(tmp_path, llama):
    import msgspec

    folder = shutil.copytree(llama, tmp_path / "model")
    with (folder / "tokenizer.model").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ModelRefused, match="beside_size"):
        check_submission(
            folder, quotas=msgspec.structs.replace(QUOTAS, mib=100), panel="segments", window_bytes=128, base=None
        )

"""What a trial finds, in this process and in one of its own."""

import shutil
from pathlib import Path

import msgspec
import pytest

from models.errors import ModelRefused
from models.intake.check import check_static, check_submission
from models.intake.quotas import Quotas
from models.intake.trial import Passed, Question, answer_to, status_mib
from models.manifest import manifest_folder
from models.store import Store
from tests.models.intake.architectures import KINDS, make
from tests.models.intake.building import adapted
from tests.models.intake.speaking import PASSED, REFUSED, large, never_done, tokenised

QUOTAS = Quotas(width=8192, trial_mib=256, trial_s=60)


@pytest.fixture(scope="module")
def llama(tmp_path_factory, one_thread) -> Path:
    return make("llama", tmp_path_factory.mktemp("llama"))


def ask(folder: Path, base: Path, panel="segments"):
    """The answer of a trial in this process."""
    stored = check_static(folder, QUOTAS)
    over = None if (folder / "config.json").exists() else str(base)
    return answer_to(Question(str(folder), over, panel, 160, stored, 1e9, 256, 60.0), status_mib("VmRSS"))


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_speak_is_refused_with_its_code(tmp_path, llama, case):
    code, change = REFUSED[case]
    folder = shutil.copytree(llama, tmp_path / "model")
    change(folder)
    answer = ask(folder, llama)
    assert getattr(answer, "code", None) == code, answer


@pytest.mark.parametrize("panel", ["segments", "next_byte"])
@pytest.mark.parametrize("case", PASSED)
def test_what_speaks_passes(tmp_path, llama, case, panel):
    folder = shutil.copytree(llama, tmp_path / "model")
    PASSED[case](folder)
    answer = ask(folder, llama, panel)
    assert isinstance(answer, Passed), answer
    assert answer.reads == ("tokens" if case == "tokens" else "bytes")
    assert answer.context_tokens == 128
    assert 1 < answer.bits_per_byte < 20


@pytest.mark.parametrize("panel", ["segments", "next_byte"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_passes(tmp_path, kind, panel, one_thread):
    answer = ask(make(kind, tmp_path / kind, 1), tmp_path, panel)
    assert isinstance(answer, Passed), answer
    assert answer.model_type == kind


def check(folder: Path, **quotas: float):
    wide = msgspec.structs.replace(QUOTAS, **quotas)
    return check_submission(folder, quotas=wide, panel="segments", window_bytes=160, base=None)


@pytest.mark.thorough
def test_a_process_of_its_own_says_the_same(tmp_path, llama):
    code, change = REFUSED["numbers that overflow"]
    folder = shutil.copytree(llama, tmp_path / "model")
    change(folder)
    with pytest.raises(ModelRefused) as refused:
        check(folder)
    assert refused.value.code == code
    assert str(tmp_path) not in refused.value.sentence


@pytest.mark.thorough
def test_an_adapter_passes_over_a_stored_base(tmp_path, llama):
    store = Store(tmp_path / "store")
    base = store.put_folder(llama).hash
    folder = shutil.copytree(llama, tmp_path / "model")
    adapted(base_model_name_or_path=base.hex())(folder)
    checked = check_submission(folder, quotas=QUOTAS, panel="next_byte", window_bytes=64, base=store.materialize)
    assert (checked.kind, checked.base, checked.model_type) == ("adapter", base, "llama")
    assert checked.manifest == manifest_folder(folder).hash
    assert checked.parameters > 34_976
    over_itself = shutil.copytree(folder, tmp_path / "over")
    adapted(base_model_name_or_path=store.put_folder(folder).hash.hex())(over_itself)
    with pytest.raises(ModelRefused, match="no whole weights"):
        check_submission(over_itself, quotas=QUOTAS, panel="next_byte", window_bytes=64, base=store.materialize)


@pytest.mark.thorough
def test_a_model_that_needs_more_memory_than_it_may_have_is_refused(tmp_path, llama):
    folder = shutil.copytree(llama, tmp_path / "model")
    large(folder)
    with pytest.raises(ModelRefused, match="64 MiB") as refused:
        check(folder, trial_mib=64)
    assert refused.value.code == "out_of_memory"


@pytest.mark.thorough
def test_a_model_that_needs_more_time_than_it_may_have_is_refused(tmp_path):
    folder = tmp_path / "model"
    tokenised(never_done)(folder)
    with pytest.raises(ModelRefused, match="2 s") as refused:
        check(folder, trial_s=2)
    assert refused.value.code == "out_of_time"


@pytest.mark.thorough
def test_what_passed_is_described(tmp_path, one_thread):
    folder = make("mamba", tmp_path / "mamba", 1)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    checked = check(folder)
    assert (checked.model_type, checked.kind, checked.base, checked.reads) == ("mamba", "hosted", None, "bytes")
    assert checked.size_bytes == sum(path.stat().st_size for path in before)
    assert 0 < checked.peak_mib < QUOTAS.trial_mib
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

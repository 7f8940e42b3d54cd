"""Uploads on the disk: they resume, they are bounded, and they end."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serve import checks
from cluster.serve import uploads as module
from cluster.serve.errors import HttpRefused, Problem
from cluster.serve.upload import LEAST_BYTES_PER_S, REST_S, Outcome, Standing
from cluster.serve.uploads import Uploads
from ledger.errors import Refusal
from models.errors import ModelRefused
from models.intake.quotas import Quotas
from models.manifest import Manifest, ManifestFile, manifest_folder

PAYER, OTHER = b"p" * 32, b"o" * 32
WEIGHTS = bytes(range(256)) * 40


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(tmp_path: Path, clock: Clock) -> Uploads:
    return Uploads(tmp_path / "uploads", 3, clock)


def begin(uploads: Uploads, manifest: Manifest, payer: bytes = PAYER, price_rao: int = 7) -> Standing:
    return uploads.begin(payer, manifest, Quotas(), lambda own_rao: price_rao)


def write(uploads: Uploads, manifest: Manifest, name: str, offset: int, data: bytes) -> None:
    upload = uploads.find(PAYER, manifest.hash)
    with upload.lock:
        upload.write(name, offset, data, uploads.now_s())


def fill(uploads: Uploads, manifest: Manifest, folder: Path) -> None:
    for file in manifest.files:
        if file.size_bytes:
            write(uploads, manifest, file.path, 0, (folder / file.path).read_bytes())


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises((HttpRefused, ModelRefused, Refusal)) as refused:
        act()
    return str(getattr(refused.value, "code", ""))


def fake_manifest(number: int, size_bytes: int = 10, files: int = 1) -> Manifest:
    return Manifest(tuple(ManifestFile(f"{i:04d}.safetensors", bytes([number] * 32), size_bytes) for i in range(files)))


def test_an_upload_takes_each_chunk_where_its_file_ends(uploads: Uploads, manifest: Manifest) -> None:
    standing = begin(uploads, manifest)
    assert standing.state == "receiving"
    assert set(standing.offsets.values()) == {0}
    write(uploads, manifest, "model.safetensors", 0, WEIGHTS[:4000])
    for offset in (0, 3999, 4001):
        assert code_of(lambda at=offset: write(uploads, manifest, "model.safetensors", at, b"x")) == "wrong_offset"
    write(uploads, manifest, "model.safetensors", 4000, WEIGHTS[4000:])
    assert code_of(lambda: write(uploads, manifest, "model.safetensors", len(WEIGHTS), b"x")) == "wrong_offset"
    assert code_of(lambda: write(uploads, manifest, "../x", 0, b"x")) == "not_found"
    upload = uploads.find(PAYER, manifest.hash)
    assert (upload.files / "model.safetensors").read_bytes() == WEIGHTS


@given(cuts=st.lists(st.integers(0, len(WEIGHTS)), max_size=5), restarts=st.booleans())
def test_any_chunks_give_the_file_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restarts: bool
) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    manifest, place = manifest_folder(folder), tmp_path_factory.mktemp("uploads")
    uploads = Uploads(place, 3)
    begin(uploads, manifest)
    bounds = [0, *sorted(cuts), len(WEIGHTS)]
    for low, high in pairwise(bounds):
        if restarts:
            uploads = Uploads(place, 3)
        assert begin(uploads, manifest).offsets["model.safetensors"] == low
        write(uploads, manifest, "model.safetensors", low, WEIGHTS[low:high])
    assert (uploads.find(PAYER, manifest.hash).files / "model.safetensors").read_bytes() == WEIGHTS


def test_only_a_complete_upload_is_checked_and_once(uploads: Uploads, manifest: Manifest, model: Path) -> None:
    begin(uploads, manifest)
    upload = uploads.find(PAYER, manifest.hash)
    assert code_of(lambda: upload.begin_check(0.0)) == "incomplete"
    fill(uploads, manifest, model)
    assert upload.begin_check(0.0)
    assert not upload.begin_check(0.0)
    assert code_of(lambda: write(uploads, manifest, "README", 0, b"x")) == "busy"
    upload.pause(Problem(kind="HttpRefused", code="check_failed", sentence=""), 0.0)
    assert upload.standing().problem is not None
    assert upload.begin_check(0.0)
    assert upload.standing().problem is None


def test_a_damaged_file_is_sent_again(uploads: Uploads, manifest: Manifest, model: Path) -> None:
    begin(uploads, manifest)
    fill(uploads, manifest, model)
    upload = uploads.find(PAYER, manifest.hash)
    upload.begin_check(0.0)
    upload.drop_file("config.json")
    upload.pause(Problem(kind="HttpRefused", code="hash_mismatch", sentence=""), 0.0)
    assert upload.standing().offsets["config.json"] == 0
    write(uploads, manifest, "config.json", 0, (model / "config.json").read_bytes())
    assert upload.begin_check(0.0)


def test_what_a_check_found_outlives_a_restart_and_its_files_do_not(
    uploads: Uploads, manifest: Manifest, model: Path, tmp_path: Path, clock: Clock
) -> None:
    begin(uploads, manifest)
    fill(uploads, manifest, model)
    upload = uploads.find(PAYER, manifest.hash)
    upload.begin_check(0.0)
    upload.settle(Outcome(None, Problem(kind="ModelRefused", code="nan", sentence="it is")), 0.0)
    assert not upload.files.exists()
    assert uploads.reserved_rao(PAYER) == 0
    again = Uploads(tmp_path / "uploads", 3, clock)
    standing = again.find(PAYER, manifest.hash).standing()
    assert standing.state == "refused"
    assert standing.problem is not None
    assert standing.problem.code == "nan"
    assert begin(again, manifest).state == "receiving"


def test_reservations_add_up_and_end_with_the_upload(uploads: Uploads, manifest: Manifest, clock: Clock) -> None:
    told: list[int] = []

    def reserve(own_rao: int) -> int:
        told.append(own_rao)
        return 7

    uploads.begin(PAYER, manifest, Quotas(), reserve)
    uploads.begin(PAYER, manifest, Quotas(), reserve)
    uploads.begin(PAYER, fake_manifest(1), Quotas(), reserve)
    assert told == [0, 7]
    assert uploads.reserved_rao(PAYER) == 14
    assert uploads.reserved_rao(OTHER) == 0
    clock.s = REST_S + 1
    assert uploads.reserved_rao(PAYER) == 0
    assert code_of(lambda: uploads.find(PAYER, manifest.hash)) == "no_upload"


def test_who_cannot_pay_leaves_nothing(uploads: Uploads, manifest: Manifest, tmp_path: Path) -> None:
    def reserve(own_rao: int) -> int:
        raise Refusal("insufficient_balance", "there is none")

    assert code_of(lambda: uploads.begin(PAYER, manifest, Quotas(), reserve)) == "insufficient_balance"
    assert not list((tmp_path / "uploads").glob("*/*"))


def test_uploads_are_bounded_by_key_and_in_all(uploads: Uploads) -> None:
    for number in range(2):
        begin(uploads, fake_manifest(number))
    assert code_of(lambda: begin(uploads, fake_manifest(2))) == "too_many_uploads"
    begin(uploads, fake_manifest(0), OTHER)
    assert code_of(lambda: begin(uploads, fake_manifest(0), b"t" * 32)) == "busy"


def test_chunks_on_their_way_are_bounded(uploads: Uploads, manifest: Manifest) -> None:
    begin(uploads, manifest)
    upload = uploads.find(PAYER, manifest.hash)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(upload.expecting())
        assert code_of(lambda: stack.enter_context(upload.expecting())) == "busy"
    with upload.expecting():
        write(uploads, manifest, "model.safetensors", 0, b"x")


def test_quotas_and_the_disk_bound_an_upload(uploads: Uploads) -> None:
    small = Quotas(mib=1, files=2)
    too_many, too_large = fake_manifest(0, files=3), fake_manifest(0, size_bytes=(1 << 20) + 1)
    assert code_of(lambda: uploads.begin(PAYER, too_many, small, lambda own: 0)) == "files"
    assert code_of(lambda: uploads.begin(PAYER, too_large, small, lambda own: 0)) == "size"
    endless = fake_manifest(0, size_bytes=1 << 60)
    assert code_of(lambda: uploads.begin(PAYER, endless, Quotas(mib=1 << 24), lambda own: 0)) == "size"


def test_a_full_disk_is_said_before_anything_is_sent(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    large = fake_manifest(0, size_bytes=module.shutil.disk_usage("/").total)
    assert code_of(lambda: uploads.begin(PAYER, large, Quotas(mib=1 << 24), lambda own: 0)) in ("no_room", "size")


def test_a_slow_upload_ends_and_a_steady_one_does_not(uploads: Uploads, clock: Clock) -> None:
    total = int(4 * REST_S * LEAST_BYTES_PER_S)
    slow, steady = fake_manifest(1, size_bytes=total), fake_manifest(2, size_bytes=total)
    begin(uploads, slow)
    begin(uploads, steady)
    chunk = bytes(int(LEAST_BYTES_PER_S * REST_S))
    for step in range(2):
        clock.s += 0.9 * REST_S
        write(uploads, steady, "0000.safetensors", step * len(chunk), chunk)
        if not step:
            write(uploads, slow, "0000.safetensors", 0, b"x")
    assert code_of(lambda: write(uploads, slow, "0000.safetensors", 1, b"x")) == "no_upload"


def test_what_has_expired_leaves_the_disk(
    uploads: Uploads, manifest: Manifest, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "SWEEP_S", 0.01)
    begin(uploads, manifest)
    worker = checks.Checks(uploads, lambda folder, payer, progress: pytest.fail("nothing was to be checked"))
    clock.s = REST_S + 1
    while list((tmp_path / "uploads").glob("*")):
        time.sleep(0.01)
    worker.close()


def test_what_a_crash_left_half_laid_out_is_taken_away(tmp_path: Path, manifest: Manifest, clock: Clock) -> None:
    begin(Uploads(tmp_path / "uploads", 3, clock), manifest)
    place = next((tmp_path / "uploads").glob("*/*"))
    (place / "record").write_bytes(b"junk")
    (place.parent / "half" / "files").mkdir(parents=True)
    again = Uploads(tmp_path / "uploads", 3, clock)
    assert code_of(lambda: again.find(PAYER, manifest.hash)) == "no_upload"
    assert not list((tmp_path / "uploads").glob("*/*"))

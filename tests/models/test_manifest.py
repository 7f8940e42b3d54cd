import contextlib
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelRefused
from models.manifest import (
    Manifest,
    ManifestFile,
    decode_manifest,
    encode_manifest,
    manifest_folder,
    open_plain,
)


def test_a_manifest_names_each_file_by_its_content(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / ".gitattributes").write_bytes(b"hidden")
    manifest = manifest_folder(tmp_path)
    assert [file.path for file in manifest.files] == ["config.json", "model.safetensors"]
    assert manifest.files[1] == ManifestFile(
        "model.safetensors", hashlib.blake2b(b"weights", digest_size=32).digest(), 7
    )
    assert manifest.size_bytes == 9


def test_the_hash_is_pinned():
    """A change of it would orphan every published version."""
    file = ManifestFile("config.json", hashlib.blake2b(b"{}", digest_size=32).digest(), 2)
    assert Manifest((file,)).hash.hex() == "04c6876d92a4890b8f8976b4de9a949eba703a7f69b31272b2cc9325f705477a"


def test_the_hash_follows_name_and_content(tmp_path):
    seen = set()
    for name, content in [("a.json", b"1"), ("a.json", b"2"), ("b.json", b"1")]:
        folder = tmp_path / str(len(seen))
        folder.mkdir()
        (folder / name).write_bytes(content)
        seen.add(manifest_folder(folder).hash)
    assert len(seen) == 3


files = st.builds(
    ManifestFile,
    path=st.text("abcdé_-1", min_size=1, max_size=8).map("{}.json".format),
    blake2b=st.binary(min_size=32, max_size=32),
    size_bytes=st.integers(0, 2**40),
)
manifests = st.lists(files, min_size=1, max_size=5, unique_by=lambda file: file.path).map(
    lambda found: Manifest(tuple(sorted(found, key=lambda file: file.path)))
)


@given(manifests)
def test_a_manifest_survives_its_encoding(manifest):
    assert decode_manifest(encode_manifest(manifest)) == manifest


@given(manifests, st.data())
def test_damaged_bytes_are_refused_or_another_manifest(manifest, data):
    encoded = bytearray(encode_manifest(manifest))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ModelRefused):
        assert decode_manifest(bytes(encoded)).hash != manifest.hash


def make_pickle(folder):
    (folder / "pytorch_model.bin").write_bytes(b"")


def make_code(folder):
    (folder / "modeling.py").write_bytes(b"")


def make_link(folder):
    (folder / "config.json").symlink_to("/etc/hostname")


def make_subfolder(folder):
    (folder / "onnx").mkdir()


def make_pipe(folder):
    os.mkfifo(folder / "config.json")


def make_odd_name(folder):
    (folder / "con\\fig.json").write_bytes(b"")


def make_nothing(folder):
    pass


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_pickle, "pickle"),
        (make_code, "code"),
        (make_link, "link"),
        (make_subfolder, "subfolder"),
        (make_pipe, "special_file"),
        (make_odd_name, "name"),
        (make_nothing, "empty_folder"),
    ],
)
def test_what_may_not_be_hosted_is_refused_with_its_code(tmp_path, make, code):
    make(tmp_path)
    with pytest.raises(ModelRefused) as refusal:
        manifest_folder(tmp_path)
    assert refusal.value.code == code


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="not_a_folder"):
        manifest_folder(tmp_path / "absent")


@pytest.mark.parametrize("path", ["../config.json", "/etc/passwd", "a/b.json", ".hidden", "model.PT", "x:y"])
def test_a_manifest_from_outside_cannot_name_a_path(path):
    foreign = Manifest((ManifestFile(path, bytes(32), 0),))
    with pytest.raises(ModelRefused):
        decode_manifest(encode_manifest(foreign))


def test_an_unsorted_manifest_is_refused():
    unsorted = Manifest((ManifestFile("b.json", bytes(32), 0), ManifestFile("a.json", bytes(32), 0)))
    with pytest.raises(ModelRefused, match="canonical"):
        decode_manifest(encode_manifest(unsorted))


def test_a_link_that_took_a_listed_file_s_place_is_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"not a model")
    (tmp_path / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"config\.json"):
        open_plain(tmp_path / "config.json")


def test_more_files_than_a_manifest_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("models.manifest.MAXIMUM_FILES", 2)
    for number in range(3):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(ModelRefused, match="at most 2"):
        manifest_folder(tmp_path)

"""The depot and the collection of what nothing names, on real file systems that pyarrow opens."""

import os
import shutil
import time

import pytest

from models.errors import StoreError
from models.store import ABANDONED_S, Store


@pytest.fixture
def depot(tmp_path):
    (tmp_path / "depot").mkdir()
    return (tmp_path / "depot").as_uri()


def make_folder(folder, weights=b"weights"):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def place(root, kind, digest):
    return root / kind / digest.hex()[:2] / digest.hex()


def age(path, seconds=1000):
    os.utime(path, (time.time() - seconds,) * 2)


def damage(path):
    path.chmod(0o644)
    path.write_bytes(b"w3ights")


def test_another_machine_fetches_from_the_depot(tmp_path, depot):
    manifest = Store(tmp_path / "here", depot).put_folder(make_folder(tmp_path / "model"))
    there = Store(tmp_path / "there", depot)
    assert (there.materialize(manifest.hash) / "model.safetensors").read_bytes() == b"weights"
    assert there.get(manifest.hash) == manifest


def test_a_damaged_content_is_fetched_again(tmp_path, depot):
    store = Store(tmp_path / "store", depot)
    manifest = store.put_folder(make_folder(tmp_path / "model"))
    store.materialize(manifest.hash)
    damage(place(store.root, "objects", manifest.files[1].blake2b))
    damage(place(store.root, "manifests", manifest.hash))
    assert (store.materialize(manifest.hash) / "model.safetensors").read_bytes() == b"weights"


def test_damage_in_the_depot_is_never_given_out(tmp_path, depot):
    store = Store(tmp_path / "store", depot)
    manifest = store.put_folder(make_folder(tmp_path / "model"))
    damage(place(tmp_path / "depot", "objects", manifest.files[1].blake2b))
    there = Store(tmp_path / "there", depot)
    with pytest.raises(StoreError, match=r"model\.safetensors, is absent or damaged"):
        there.materialize(manifest.hash)
    assert not place(there.root, "objects", manifest.files[1].blake2b).exists()
    damage(place(tmp_path / "depot", "manifests", manifest.hash))
    with pytest.raises(StoreError, match="no model version"):
        Store(tmp_path / "third", depot).get(manifest.hash)


def test_what_is_half_written_in_the_depot_is_written_again(tmp_path, depot):
    store = Store(tmp_path / "store", depot)
    folder = make_folder(tmp_path / "model")
    manifest = store.put_folder(folder)
    place(tmp_path / "depot", "objects", manifest.files[1].blake2b).write_bytes(b"wei")
    store.put_folder(folder)
    assert (Store(tmp_path / "there", depot).materialize(manifest.hash) / "model.safetensors").exists()


@pytest.mark.parametrize("uri", ["nowhere", "gopher://host/path", "s3://"])
def test_what_is_no_depot_is_refused_at_once(tmp_path, uri):
    with pytest.raises(StoreError, match="no depot at"):
        Store(tmp_path / "store", uri)


@pytest.mark.parametrize("with_depot", [False, True])
def test_what_nothing_names_is_collected(tmp_path, depot, with_depot):
    store = Store(tmp_path / "store", depot if with_depot else "")
    kept = store.put_folder(make_folder(tmp_path / "model", b"kept"))
    gone = store.put_folder(make_folder(tmp_path / "model", b"gone!"))
    young = store.put_folder(make_folder(tmp_path / "model", b"young"))
    for manifest in (kept, gone):
        store.materialize(manifest.hash)
    for path in [*tmp_path.rglob("manifests/*/*"), *tmp_path.rglob("objects/*/*")]:
        age(path)
    age(place(store.root, "manifests", young.hash), -60)
    collected = store.collect({kept.hash}, unused_s=500)
    assert (collected.versions, collected.size_bytes) == (1, len(b"gone!"))
    assert store.versions() == {kept.hash, young.hash}
    assert not (store.root / "folders" / gone.hash.hex()).exists()
    assert (store.materialize(young.hash) / "model.safetensors").read_bytes() == b"young"
    if with_depot:
        there = Store(tmp_path / "there", depot)
        assert (there.materialize(kept.hash) / "model.safetensors").read_bytes() == b"kept"
        assert (there.materialize(young.hash) / "model.safetensors").read_bytes() == b"young"
        with pytest.raises(StoreError, match="no model version"):
            there.get(gone.hash)


def test_putting_again_keeps_a_version_young(tmp_path):
    store = Store(tmp_path / "store")
    manifest = store.put_folder(make_folder(tmp_path / "model"))
    age(place(store.root, "manifests", manifest.hash))
    store.put_folder(tmp_path / "model")
    assert store.collect(set(), unused_s=500).versions == 0
    assert store.collect(set(), unused_s=0).versions == 1
    assert not [path for path in store.root.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_version_that_only_the_depot_has_is_kept_there(tmp_path, depot):
    store = Store(tmp_path / "store", depot)
    manifest = store.put_folder(make_folder(tmp_path / "model"))
    shutil.rmtree(store.root)
    fresh = Store(tmp_path / "store", depot)
    assert fresh.collect({manifest.hash, bytes(32)}, unused_s=0).versions == 0
    assert (fresh.materialize(manifest.hash) / "model.safetensors").read_bytes() == b"weights"


def test_nothing_is_dropped_while_a_manifest_cannot_be_read(tmp_path):
    store = Store(tmp_path / "store")
    manifest = store.put_folder(make_folder(tmp_path / "model"))
    damage(place(store.root, "manifests", manifest.hash))
    with pytest.raises(StoreError, match="damaged"):
        store.collect({manifest.hash}, unused_s=0)
    assert place(store.root, "objects", manifest.files[1].blake2b).exists()


def test_what_a_killed_process_left_aside_is_cleared(tmp_path):
    store = Store(tmp_path / "store")
    for name in ("old", "new"):
        (store.root / "aside" / name).mkdir()
    age(store.root / "aside" / "old", seconds=2 * ABANDONED_S)
    store.collect(set(), unused_s=0)
    assert [path.name for path in (store.root / "aside").iterdir()] == ["new"]


def test_what_is_staged_and_not_adopted_leaves_nothing(tmp_path):
    store = Store(tmp_path / "store")
    with store.staged(make_folder(tmp_path / "model")) as staged:
        assert (staged.path / "model.safetensors").read_bytes() == b"weights"
        (tmp_path / "model" / "model.safetensors").write_bytes(b"changed meanwhile")
    assert not [path for path in store.root.rglob("*") if path.is_file()]
    with store.staged(make_folder(tmp_path / "model")) as staged:
        adopted = store.adopt(staged)
    assert adopted == staged.manifest == store.get(adopted.hash)
    assert not list((store.root / "aside").iterdir())

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import ModelRefused, StoreError
from models.manifest import manifest_folder
from models.store import Store


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def damage(path):
    path.chmod(0o644)
    path.write_bytes(b"w3ights")


def test_what_goes_in_comes_out(store, folder):
    manifest = store.put_folder(folder)
    assert manifest == manifest_folder(folder)
    assert manifest.hash in store
    assert store.get(manifest.hash) == manifest
    laid_out = store.materialize(manifest.hash)
    assert {path.name: path.read_bytes() for path in laid_out.iterdir()} == {
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }


def test_equal_contents_are_kept_once(store, folder, tmp_path):
    first = store.put_folder(folder)
    (folder / "model.safetensors").write_bytes(b"other weights")
    second = store.put_folder(folder)
    assert first.hash != second.hash
    assert sum(path.is_file() for path in (store.root / "objects").rglob("*")) == 3
    assert not list((store.root / "aside").iterdir())


def test_putting_again_changes_nothing(store, folder):
    manifest = store.put_folder(folder)
    laid_out = store.materialize(manifest.hash)
    before = (laid_out / "config.json").stat().st_ino
    assert store.put_folder(folder) == manifest
    assert (store.materialize(manifest.hash) / "config.json").stat().st_ino == before


def test_what_is_absent_is_said_to_be(store, folder):
    with pytest.raises(StoreError, match="no model version"):
        store.get(bytes(32))
    with pytest.raises(StoreError, match="no model version"):
        store.materialize(bytes(32))
    assert bytes(32) not in store


def test_a_damaged_object_is_never_given_out(store, folder):
    manifest = store.put_folder(folder)
    laid_out = store.materialize(manifest.hash)
    digest = manifest.files[1].blake2b.hex()
    damage(store.root / "objects" / digest[:2] / digest)
    assert (laid_out / "model.safetensors").read_bytes() == b"w3ights"
    with pytest.raises(StoreError, match=r"model\.safetensors"):
        store.materialize(manifest.hash)
    store.put_folder(folder)
    assert (store.materialize(manifest.hash) / "model.safetensors").read_bytes() == b"weights"


def test_a_damaged_manifest_is_never_given_out(store, folder):
    manifest = store.put_folder(folder)
    damage(store.root / "manifests" / manifest.hash.hex()[:2] / manifest.hash.hex())
    with pytest.raises(StoreError, match="damaged"):
        store.get(manifest.hash)


def test_a_refused_folder_leaves_nothing(store, folder):
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelRefused):
        store.put_folder(folder)
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_many_may_use_one_root(store, folder):
    def put_and_lay_out(_):
        own = Store(store.root)
        laid_out = own.materialize(own.put_folder(folder).hash)
        return (laid_out / "model.safetensors").stat().st_ino

    with ThreadPoolExecutor(8) as pool:
        # One folder, laid out once: never taken away from one who reads it.
        assert len(set(pool.map(put_and_lay_out, range(32)))) == 1
    assert not list((store.root / "aside").iterdir())

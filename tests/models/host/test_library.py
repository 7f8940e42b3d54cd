import pytest

from models.errors import StoreError
from models.host.architectures import build_model
from models.host.folders import save_model
from models.host.library import Library
from models.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def versions(store, tmp_path_factory):
    from models.host.architectures import Architecture

    folder = tmp_path_factory.mktemp("versions")
    for seed in range(3):
        save_model(build_model(Architecture("llama", 16, 1, 2, context=64), seed), folder / str(seed))
    return [store.put_folder(folder / str(seed)).hash for seed in range(3)]


def test_a_version_is_loaded_once(store, versions):
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    assert library.hosted(versions[0]) is library.hosted(versions[0])
    assert library.hosted(versions[1]) is not library.hosted(versions[0])
    assert len(library) == 2


def test_the_version_used_least_recently_leaves_first(store, versions):
    size = store.get(versions[0]).size_bytes
    library = Library(store, device="cpu", capacity_bytes=2 * size)
    first = library.hosted(versions[0])
    library.hosted(versions[1])
    assert library.hosted(versions[0]) is first
    library.hosted(versions[2])
    assert len(library) == 2
    assert library.resident_bytes <= 2 * size
    assert library.hosted(versions[0]) is first


def test_a_version_larger_than_the_limit_is_held_alone(store, versions):
    library = Library(store, device="cpu", capacity_bytes=1)
    library.hosted(versions[0])
    library.hosted(versions[1])
    assert len(library) == 1


def test_an_absent_version_costs_no_other_its_place(store, versions):
    library = Library(store, device="cpu", capacity_bytes=1)
    library.hosted(versions[0])
    with pytest.raises(StoreError):
        library.hosted(bytes(32))
    assert len(library) == 1

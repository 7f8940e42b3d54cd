import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.errors import ModelRefused, StoreError
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.library import Library
from models.host.score import score_together, score_windows
from models.host.stacked import StackError
from models.store import Store

TEXTS = [b"some text to read", b"and more of it"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def versions(store, tmp_path_factory):
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


def write_adapter(folder, base, seed, rank=2):
    folder.mkdir()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 4, "base_model_name_or_path": base.hex()}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    generator = torch.Generator().manual_seed(seed)
    shapes = {f"{layer}.lora_A.weight": (rank, 16), f"{layer}.lora_B.weight": (16, rank)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def adapters(store, versions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return [store.put_folder(write_adapter(folder / str(seed), versions[0], seed)).hash for seed in range(3)]


def answers(hosted):
    return [scores.log_probability_C for scores in score_together(hosted, TEXTS)]


def test_a_base_is_held_once_under_all_its_adapters(store, versions, adapters):
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    models = {id(library.hosted(version).model) for version in (*adapters, versions[0])}
    assert len(models) == 1
    small = sum(library.size_bytes(adapter) for adapter in adapters)
    assert small == 3 * 4 * 2 * (16 + 16)
    assert library.resident_bytes == small + library.size_bytes(versions[0])


def test_a_base_stays_while_an_adapter_speaks_over_it(store, versions, adapters):
    sizes = Library(store, device="cpu", capacity_bytes=1 << 30)
    sizes.hosted(versions[1])
    library = Library(store, device="cpu", capacity_bytes=2 * sizes.resident_bytes + 1024)
    for adapter in adapters:
        library.hosted(adapter)
    library.hosted(versions[1])
    library.hosted(adapters[0])
    library.hosted(versions[2])
    base = library.hosted(adapters[0]).model
    assert library.hosted(versions[0]).model is base
    assert library.resident_bytes <= library.capacity_bytes


def test_adapters_of_one_shape_speak_together(store, adapters):
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    alone = [score_windows(library.hosted(adapter), TEXTS).log_probability_C for adapter in adapters]
    for together, own in zip(answers(library.stacked(adapters)), alone, strict=True):
        np.testing.assert_allclose(together, own, atol=1e-4)


def test_adapters_of_unlike_rank_do_not(store, versions, adapters, tmp_path):
    other = store.put_folder(write_adapter(tmp_path / "other", versions[0], 5, rank=3)).hash
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    for _ in range(2):
        with pytest.raises(StackError, match="another rank"):
            library.stacked([adapters[0], other])


def test_an_adapter_over_an_adapter_is_refused(store, adapters, tmp_path):
    over = store.put_folder(write_adapter(tmp_path / "over", adapters[0], 1)).hash
    with pytest.raises(ModelRefused) as refused:
        Library(store, device="cpu", capacity_bytes=1 << 30).hosted(over)
    assert refused.value.code == "adapter_base"


def test_versions_of_a_stack_still_speak_alone_and_leave_together(store, versions):
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    alone = [score_windows(library.hosted(version), TEXTS).log_probability_C for version in versions]
    used = library.resident_bytes
    stacked = library.stacked(versions[:2])
    assert library.stacked(versions[:2]) is stacked
    assert library.resident_bytes == used
    for version, own in zip(versions, alone, strict=True):
        np.testing.assert_array_equal(score_windows(library.hosted(version), TEXTS).log_probability_C, own)
    library.stacked(versions[1:])
    for version, own in zip(versions, alone, strict=True):
        np.testing.assert_array_equal(score_windows(library.hosted(version), TEXTS).log_probability_C, own)
    for together, own in zip(answers(library.stacked(versions)), alone, strict=True):
        np.testing.assert_allclose(together, own, atol=1e-4)


def test_versions_of_a_stack_leave_together(store, versions):
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    library.hosted(versions[0])
    library = Library(store, device="cpu", capacity_bytes=2 * library.resident_bytes + 2048)
    library.stacked(versions[:2])
    library.hosted(versions[2])
    assert len(library) == 1
    library.stacked(versions)
    assert len(library) == 3
    library.hosted(versions[2])
    library.stacked(versions[1:])
    assert library.resident_bytes == sum(library.size_bytes(version) for version in versions)

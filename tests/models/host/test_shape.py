"""Shapes: equal for what can be stacked, different for what cannot, and never a reason to fail."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import StoreError
from models.host.shape import read_shape
from models.store import Store
from tests.models.intake.architectures import make


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, folder):
    return store.put_folder(folder).hash


def changed(folder, target, **fields):
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | fields
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_versions_of_one_shape_have_one_signature(store, tmp_path):
    first = make("llama", tmp_path / "a", seed=0)
    shapes = [
        read_shape(store, put(store, first)),
        read_shape(store, put(store, make("llama", tmp_path / "b", seed=1))),
    ]
    named = changed(first, tmp_path / "c", _name_or_path="elsewhere", transformers_version="0", dtype="bfloat16")
    shapes.append(read_shape(store, put(store, named)))
    assert len({shape.signature for shape in shapes}) == 1
    weights = load_file(first / "model.safetensors")
    assert shapes[0].parameters == sum(tensor.numel() for tensor in weights.values())
    assert shapes[0].size_bytes == (first / "model.safetensors").stat().st_size
    assert shapes[0].base is None


def test_what_cannot_be_stacked_has_another_signature(store, tmp_path):
    first = make("llama", tmp_path / "a")
    folders = [
        first,
        changed(first, tmp_path / "b", rms_norm_eps=1e-3),
        make("llama", tmp_path / "c", intermediate_size=32),
        make("mistral", tmp_path / "d"),
        changed(first, tmp_path / "e"),
    ]
    (tmp_path / "e" / "tokenizer.json").write_text("{}")
    assert len({read_shape(store, put(store, folder)).signature for folder in folders}) == len(folders)


def adapter(folder, base, rank=2, alpha=4):
    folder.mkdir()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"l.lora_A.weight": torch.zeros(rank, 32)}, folder / "adapter_model.safetensors")
    return folder


def test_adapters_are_alike_over_one_base_and_in_one_rank(store, tmp_path):
    bases = [put(store, make("llama", tmp_path / name, seed)).hex() for seed, name in enumerate("ab")]
    given = [(bases[0], 2, 4), (bases[0], 2, 8), (bases[1], 2, 4), (bases[0], 3, 4)]
    folders = [adapter(tmp_path / str(index), *arguments) for index, arguments in enumerate(given)]
    shapes = [read_shape(store, put(store, folder)) for folder in folders]
    assert [shape.base.hex() for shape in shapes] == [base for base, _, _ in given]
    assert shapes[0].signature == shapes[1].signature
    assert len({shape.signature for shape in shapes}) == 3


@pytest.mark.parametrize("broken", ["config", "header", "shape"])
def test_what_says_nothing_sensible_stands_alone(store, tmp_path, broken):
    folder = make("llama", tmp_path / "a")
    if broken == "config":
        (folder / "config.json").write_text("[" * 100_000)
    elif broken == "header":
        (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    else:
        header = json.dumps({"x": {"shape": [-1], "dtype": "F32", "data_offsets": [0, 0]}}).encode()
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    version = put(store, folder)
    assert read_shape(store, version).signature == version[:16]


def test_an_absent_version_has_no_shape(store):
    with pytest.raises(StoreError):
        read_shape(store, bytes(32))


def test_shapes_are_read_without_torch():
    code = "import sys, models.host.shape; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

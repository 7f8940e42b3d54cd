import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import ModelRefused
from models.host.architectures import KINDS, Architecture, build_model
from models.host.folders import load_model, save_model
from models.manifest import manifest_folder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_model_comes_back_bit_for_bit(tmp_path, kind, tied):
    model = build_model(Architecture(kind, 16, 1, 2, context=32, tied=tied), 3)
    save_model(model, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "model")
    assert torch.equal(before, torch.get_rng_state())
    assert not loaded.training
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_the_same_model_has_the_same_manifest(tmp_path, llama):
    save_model(llama, tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    assert manifest_folder(tmp_path / "a").hash == manifest_folder(tmp_path / "b").hash


def test_a_model_is_not_saved_over_something(tmp_path, llama):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelRefused, match="not empty"):
        save_model(llama, tmp_path)


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_weights(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def remove_config(folder):
    (folder / "config.json").unlink()


def break_config(folder):
    (folder / "config.json").write_text("{")


def empty_config(folder):
    (folder / "config.json").write_text("[]")


def name_code(folder):
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling.Model"})


def name_kernel(folder):
    edit_config(folder, _attn_implementation="somebody/kernel")


def name_kernel_inside(folder):
    edit_config(folder, text_config={"parts": [{"attn_implementation": {"": "somebody/kernel"}}]})


def name_weights_elsewhere(folder):
    edit_config(folder, transformers_weights="other.safetensors")


def name_other_weights(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/somewhere/else"}')


def nest_config(folder):
    (folder / "config.json").write_text("[" * 100_000)


def name_unknown(folder):
    edit_config(folder, model_type="oracle")


def name_encoder(folder):
    edit_config(folder, model_type="vit")


def widen_vocabulary(folder):
    edit_config(folder, vocab_size=50257)


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def break_weights(folder):
    (folder / "model.safetensors").write_bytes(b"\x08" + bytes(40))


def remove_tensor(folder):
    edit_weights(folder, lambda tensors: tensors.pop("model.norm.weight"))


def add_tensor(folder):
    edit_weights(folder, lambda tensors: tensors.update({"model.extra.weight": torch.zeros(8)}))


def reshape_tensor(folder):
    edit_weights(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(256, 8)}))


def contradict_sizes(folder):
    edit_config(folder, hidden_size="wide")


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (remove_config, {"no_config"}),
        (break_config, {"config"}),
        (empty_config, {"config"}),
        (nest_config, {"config"}),
        (name_code, {"auto_map"}),
        (name_kernel, {"kernel"}),
        (name_kernel_inside, {"kernel"}),
        (name_weights_elsewhere, {"other_weights"}),
        (name_other_weights, {"adapter"}),
        (name_unknown, {"architecture"}),
        (name_encoder, {"not_a_decoder"}),
        (widen_vocabulary, {"vocabulary"}),
        (remove_weights, {"no_weights"}),
        (break_weights, {"weights"}),
        (remove_tensor, {"missing_tensors"}),
        (add_tensor, {"unexpected_tensors"}),
        (reshape_tensor, {"tensor_shape"}),
        (contradict_sizes, {"weights"}),
    ],
)
def test_a_folder_that_is_no_model_is_refused_with_its_code(tmp_path, llama, change, codes):
    folder = tmp_path / "model"
    save_model(llama, folder)
    change(folder)
    with pytest.raises(ModelRefused) as refusal:
        load_model(folder)
    assert refusal.value.code in codes
    assert "\n" not in str(refusal.value)

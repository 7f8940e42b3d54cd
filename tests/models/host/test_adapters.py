import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.errors import ModelRefused
from models.host.adapters import ADAPTER_WEIGHTS_FILE
from models.host.architectures import Architecture, build_model
from models.host.folders import save_model
from models.host.hosted import adapt, load_hosted
from models.host.library import Library
from models.host.next_byte import next_byte
from models.host.score import score_windows
from models.store import Store

TEXTS = [b"some text to read", b"and more of it"]
CONFIG = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 6,
    "base_model_name_or_path": "../base",
    "target_modules": ["q_proj"],
    "bias": "none",
    "task_type": "CAUSAL_LM",
    "fan_in_fan_out": False,
}
LAYERS = {
    "llama": {"model.layers.0.self_attn.q_proj": (16, 16), "model.layers.0.mlp.down_proj": (64, 16)},
    "gpt2": {"transformer.h.0.attn.c_attn": (16, 48), "transformer.h.0.mlp.c_fc": (16, 64)},
}


def pairs(layers):
    generator = torch.Generator().manual_seed(0)
    return {
        f"base_model.model.{name}.lora_{side}.weight": torch.randn(shape, generator=generator)
        for name, (inputs, outputs) in layers.items()
        for side, shape in (("A", (2, inputs)), ("B", (outputs, 2)))
    }


def write(folder, config, tensors):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if tensors:
        save_file(tensors, folder / ADAPTER_WEIGHTS_FILE)
    return folder


@pytest.fixture
def base(tmp_path, one_thread):
    save_model(build_model(Architecture("llama", 16, 1, 2, context=64), 1), tmp_path / "base")
    return tmp_path / "base"


def with_sums(base, tensors, scale, layers):
    """The base's folder loaded anew, each adapted weight replaced by W + s·B·A: what PEFT's merge gives."""
    hosted = load_hosted(base)
    with torch.no_grad():
        for name in layers:
            layer = hosted.model.get_submodule(name)
            a, b = (tensors[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
            change = scale * b @ a
            layer.weight += change.T if type(layer).__name__ == "Conv1D" else change
    return hosted


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("stabilised", [False, True])
def test_an_adapted_layer_is_the_sum_and_the_product(tmp_path, kind, stabilised):
    save_model(build_model(Architecture(kind, 16, 1, 2, context=64), 1), tmp_path / "base")
    tensors = pairs(LAYERS[kind])
    adapter = write(tmp_path / "adapter", CONFIG | {"use_rslora": stabilised}, tensors)
    merged = with_sums(tmp_path / "base", tensors, 6 / 2**0.5 if stabilised else 3, LAYERS[kind])
    expected = score_windows(merged, TEXTS).log_probability_C
    adapted = load_hosted(adapter)
    np.testing.assert_allclose(score_windows(adapted, TEXTS).log_probability_C, expected, atol=1e-4)
    np.testing.assert_allclose(next_byte(adapted, TEXTS), next_byte(merged, TEXTS), atol=1e-4)
    assert adapted.parameters == merged.parameters + sum(tensor.numel() for tensor in tensors.values())


def test_a_base_answers_as_before_once_its_adapter_has_spoken(base, tmp_path):
    plain = load_hosted(base)
    before, state = score_windows(plain, TEXTS), {k: v.clone() for k, v in plain.model.state_dict().items()}
    adapted = adapt(plain, write(tmp_path / "adapter", CONFIG, pairs(LAYERS["llama"])))
    assert adapted.model is plain.model
    changed = score_windows(adapted, TEXTS)
    np.testing.assert_array_equal(score_windows(plain, TEXTS).log_probability_C, before.log_probability_C)
    assert np.abs(changed.log_probability_C - before.log_probability_C).max() > 0.1
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_layer_that_the_base_passes_by_cannot_be_adapted(base, tmp_path, monkeypatch):
    plain = load_hosted(base)
    layer = plain.model.get_submodule("model.layers.0.mlp.down_proj")
    monkeypatch.setattr(plain.model.model.layers[0].mlp, "forward", lambda x: x @ layer.weight[:, :16])
    with pytest.raises(ModelRefused, match="does not call by itself"):
        adapt(plain, write(tmp_path / "adapter", CONFIG, pairs(LAYERS["llama"])))


def test_an_adapted_model_answers_as_its_layers_with_the_product_beside_them(base, tmp_path):
    tensors = pairs(LAYERS["llama"])
    adapter = write(tmp_path / "adapter", CONFIG, tensors)
    plain = load_hosted(base)
    with torch.no_grad():
        for layer in LAYERS["llama"]:
            module = plain.model.get_submodule(layer)
            a, b = (tensors[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
            module.register_forward_hook(lambda _, x, y, a=a, b=b: y + 3 * (x[0] @ a.T) @ b.T)
    expected = score_windows(plain, TEXTS).log_probability_C
    np.testing.assert_allclose(score_windows(load_hosted(adapter), TEXTS).log_probability_C, expected, atol=1e-4)


def test_the_base_may_be_given_by_its_whole_path_or_by_the_caller(base, tmp_path):
    tensors = pairs(LAYERS["llama"])
    whole = write(tmp_path / "deep" / "a", CONFIG | {"base_model_name_or_path": str(base)}, tensors)
    given = write(tmp_path / "deep" / "b", CONFIG | {"base_model_name_or_path": "meta/never-here"}, tensors)
    expected = score_windows(load_hosted(whole), TEXTS).log_probability_C
    np.testing.assert_array_equal(score_windows(load_hosted(given, base=base), TEXTS).log_probability_C, expected)


def misshapen():
    tensors = pairs(LAYERS["llama"])
    return tensors | {"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight": torch.zeros(15, 2)}


def lacking():
    tensors = pairs(LAYERS["llama"])
    tensors.popitem()
    return tensors


REFUSALS = [
    ("adapter", CONFIG | {"peft_type": "IA3"}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"r": 0}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"use_dora": True}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"bias": "all"}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"alpha_pattern": {"q_proj": 4}}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"lora_bias": True}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"layer_replication": [[0, 1]]}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"modules_to_save": ["lm_head"]}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"trainable_token_indices": [1]}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"init_lora_weights": "pissa_niter_4"}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"alora_invocation_tokens": [1, 2]}, pairs(LAYERS["llama"])),
    ("adapter", CONFIG | {"kasa_config": {"beta": 1e-4}}, pairs(LAYERS["llama"])),
    ("adapter", {"peft_type": "LORA"}, pairs(LAYERS["llama"])),
    ("adapter_base", CONFIG | {"base_model_name_or_path": "../elsewhere"}, pairs(LAYERS["llama"])),
    ("adapter_weights", CONFIG, {}),
    ("adapter_weights", CONFIG, lacking()),
    ("adapter_weights", CONFIG | {"r": 3}, pairs(LAYERS["llama"])),
    ("adapter_weights", CONFIG, pairs(LAYERS["llama"]) | {"base_model.model.lm_head.weight": torch.zeros(2, 2)}),
    ("adapter_layers", CONFIG, pairs({"model.layers.9.self_attn.q_proj": (16, 16)})),
    ("adapter_layers", CONFIG, pairs({"model.layers.0.input_layernorm": (16, 16)})),
    ("adapter_layers", CONFIG, misshapen()),
]


@pytest.mark.parametrize(("code", "config", "tensors"), REFUSALS)
def test_what_cannot_be_applied_whole_is_refused(base, tmp_path, code, config, tensors):
    with pytest.raises(ModelRefused) as refused:
        load_hosted(write(tmp_path / "adapter", config, tensors))
    assert refused.value.code == code


def test_an_output_that_is_the_input_too_is_adapted_as_an_output_alone(tmp_path):
    save_model(build_model(Architecture("llama", 16, 1, 2, context=64, tied=True), 1), tmp_path / "base")
    tensors = pairs({"lm_head": (16, 256)})
    adapted, plain = load_hosted(write(tmp_path / "adapter", CONFIG, tensors)), load_hosted(tmp_path / "base")
    a, b = (tensors[f"base_model.model.lm_head.lora_{side}.weight"] for side in "AB")
    plain.model.lm_head.register_forward_hook(lambda _, x, y: y + 3 * (x[0] @ a.T) @ b.T)
    expected = score_windows(plain, TEXTS).log_probability_C
    np.testing.assert_allclose(score_windows(adapted, TEXTS).log_probability_C, expected, atol=1e-4)


def test_a_library_takes_an_adapters_base_from_its_store_only(base, tmp_path):
    store = Store(tmp_path / "store")
    library = Library(store, device="cpu", capacity_bytes=1 << 30)
    tensors = pairs(LAYERS["llama"])
    named = CONFIG | {"base_model_name_or_path": store.put_folder(base).hash.hex()}
    adapter = store.put_folder(write(tmp_path / "adapter", named, tensors)).hash
    path = store.put_folder(write(tmp_path / "path", CONFIG | {"base_model_name_or_path": str(base)}, tensors)).hash
    expected = score_windows(load_hosted(tmp_path / "adapter", base=base), TEXTS).log_probability_C
    np.testing.assert_array_equal(score_windows(library.hosted(adapter), TEXTS).log_probability_C, expected)
    with pytest.raises(ModelRefused) as refused:
        library.hosted(path)
    assert refused.value.code == "adapter_base"

"""Models to measure with: random weights in the shapes that people run, made on the device, no download.

Invariants: a preset is built by the library's own class for its kind; weights are random, never zeros.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from models.errors import ModelsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Preset:
    """A shape: a kind that transformers knows, and the fields of its configuration."""

    kind: str
    fields: dict[str, Any]
    about: str


def _llama(
    hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, vocabulary: int, context: int, tied: bool
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


_EXPERTS = {"num_local_experts": 8, "num_experts_per_tok": 2}

PRESETS: dict[str, Preset] = {
    "byte-1m": Preset("llama", _llama(128, 4, 4, 4, 352, 256, 1024, False), "a small peer over bytes"),
    "byte-10m": Preset("llama", _llama(320, 8, 5, 5, 864, 256, 1024, False), "a larger peer over bytes"),
    "llama-0.1b": Preset("llama", _llama(768, 12, 12, 12, 2048, 32000, 2048, True), "about GPT-2 small"),
    "llama-0.5b": Preset("llama", _llama(1024, 24, 16, 8, 4096, 32000, 4096, True), ""),
    "llama-1b": Preset("llama", _llama(2048, 16, 32, 8, 8192, 128256, 8192, True), "the shape of Llama 3.2 1B"),
    "llama-3b": Preset("llama", _llama(3072, 28, 24, 8, 8192, 128256, 8192, True), "the shape of Llama 3.2 3B"),
    "llama-8b": Preset("llama", _llama(4096, 32, 32, 8, 14336, 128256, 8192, False), "the shape of Llama 3.1 8B"),
    "moe-byte-2m": Preset(
        "mixtral", _llama(128, 4, 4, 4, 176, 256, 1024, False) | _EXPERTS, "a small mixture of experts over bytes"
    ),
    "moe-1b": Preset(
        "mixtral", _llama(1024, 12, 16, 8, 3584, 32000, 4096, True) | _EXPERTS, "a mixture of eight experts, two active"
    ),
}


def build_preset(name: str, device: torch.device, dtype: torch.dtype, seed: int = 0) -> "PreTrainedModel":
    """The preset's model in eval mode, weights drawn on the device. Raises ModelsError for an unknown name."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if name not in PRESETS:
        raise ModelsError(f"{name!r} is no preset and no folder; presets are {', '.join(PRESETS)}")
    preset, auto = PRESETS[name], cast(Any, AutoModelForCausalLM)
    fields = preset.fields | {"initializer_range": float(preset.fields["hidden_size"] ** -0.5)}
    config = AutoConfig.for_model(preset.kind, **fields)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), device:
        torch.manual_seed(seed)
        model: Any = auto.from_config(config, dtype=dtype)
    built: PreTrainedModel = model.train(False)
    return built

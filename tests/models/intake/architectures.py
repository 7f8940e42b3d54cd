"""Tiny random models of many architectures over bytes, each built and saved by transformers itself.

Invariants: the same kind and seed give the same folder; weights are large, so that no answer is nearly uniform; each
has under 100,000 parameters.
"""

from pathlib import Path
from typing import Any

CONTEXT = 128
BASICS: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GROUPED = BASICS | {"num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {"num_experts_per_tok": 2, "router_aux_loss_coef": 0.0}

KINDS: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 24},
    "qwen2": GROUPED | {"tie_word_embeddings": True},
    "qwen3": GROUPED,
    "gemma": GROUPED | {"tie_word_embeddings": True},
    "gemma2": GROUPED | {"tie_word_embeddings": True, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "gemma3_text": GROUPED | {"tie_word_embeddings": True, "sliding_window": 24, "query_pre_attn_scalar": 8},
    "phi": BASICS | {"num_key_value_heads": 4},
    "phi3": BASICS | {"num_key_value_heads": 2, "original_max_position_embeddings": CONTEXT},
    "gpt2": {
        "vocab_size": 256,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": CONTEXT,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": None,
    },
    "gpt_neox": BASICS,
    "opt": BASICS | {"ffn_dim": 64, "word_embed_proj_dim": 24, "init_std": 0.2, "tie_word_embeddings": True},
    "mamba": {
        "vocab_size": 256,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 8,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    },
    "mixtral": GROUPED | EXPERTS | {"num_local_experts": 4},
    "qwen3_moe": GROUPED | EXPERTS | {"num_experts": 4, "moe_intermediate_size": 32},
}
"""What each kind's configuration says, by its name in transformers."""


def make(kind: str, folder: Path, seed: int = 0, **fields: Any) -> Path:
    """A random model of `kind` in `folder`, which is made; `fields` change its configuration. Returns `folder`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(kind, **(KINDS[kind] | fields))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        auto.from_config(config, dtype=torch.float32).eval().save_pretrained(folder)
    return folder

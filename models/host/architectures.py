"""Architectures: transformer language models over bytes, built from a few numbers and a seed.

Invariants: the vocabulary is the 256 bytes and there is no tokenizer; the same architecture and seed give the same
weights; the process's random state is left as it was; nothing is imported from torch or transformers until a model is
built.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from models.errors import ArchitectureError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VOCABULARY = 256

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decoder by its kind and its sizes.

    `kv_heads` 0: as many as `heads`. `intermediate` 0: what the kind uses itself. `context`: longest text in bytes.
    `tied`: one matrix for input and output.
    """

    kind: str
    hidden: Positive
    layers: Positive
    heads: Positive
    kv_heads: Annotated[int, msgspec.Meta(ge=0)] = 0
    intermediate: Annotated[int, msgspec.Meta(ge=0)] = 0
    context: Annotated[int, msgspec.Meta(ge=2)] = 512
    tied: bool = False


def check_architecture(architecture: Architecture) -> None:
    """Raise ArchitectureError with the field that cannot be, before anything is built."""
    if architecture.kind not in KINDS:
        raise ArchitectureError("kind", f"{architecture.kind!r} is not known, use one of {', '.join(sorted(KINDS))}")
    if architecture.hidden % architecture.heads:
        raise ArchitectureError("heads", f"{architecture.heads} do not divide hidden = {architecture.hidden}")
    if architecture.kind != "gpt2" and architecture.hidden // architecture.heads % 2:
        raise ArchitectureError(
            "heads",
            f"each head is {architecture.hidden // architecture.heads} wide, rotary positions need an even width",
        )
    if architecture.kv_heads and architecture.kind in FULL_ATTENTION:
        raise ArchitectureError("kv_heads", f"{architecture.kind} has as many as heads: leave it out")
    if architecture.kv_heads and architecture.heads % architecture.kv_heads:
        raise ArchitectureError("kv_heads", f"{architecture.kv_heads} do not divide heads = {architecture.heads}")


def build_model(architecture: Architecture, seed: int) -> "PreTrainedModel":
    """A model with fresh weights from `seed`: float32, on the CPU, in eval mode. Raises ArchitectureError."""
    check_architecture(architecture)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(architecture.kind, **KINDS[architecture.kind](architecture))
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed, which would also reseed the accelerators.
        torch.default_generator.manual_seed(seed % 2**64)
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32)
    model.train(False)
    return model


def parameter_count(architecture: Architecture) -> int:
    """How many numbers the model trains, tied ones once, without building it."""
    hidden, intermediate = architecture.hidden, intermediate_size(architecture)
    attention, mlp, norms = 4 * hidden**2, 2 * hidden * intermediate, 2 * hidden
    positions, final_norm = 0, hidden
    if architecture.kind in FULL_ATTENTION:
        attention += 4 * hidden
        mlp += intermediate + hidden
        norms, final_norm = 2 * norms, 2 * hidden
        positions = architecture.context * hidden if architecture.kind == "gpt2" else 0
    else:
        head = hidden // architecture.heads
        kv_width = (architecture.kv_heads or architecture.heads) * head
        biases = hidden + 2 * kv_width if architecture.kind == "qwen2" else 0
        attention = 2 * hidden**2 + 2 * hidden * kv_width + biases
        mlp = 3 * hidden * intermediate
        norms += 2 * head if architecture.kind == "qwen3" else 0
    embeddings = VOCABULARY * hidden * (1 if architecture.tied else 2)
    return embeddings + positions + final_norm + architecture.layers * (attention + mlp + norms)


def intermediate_size(architecture: Architecture) -> int:
    """The MLP's width: as given, else what has about 8 hidden^2 weights with the kind's number of matrices."""
    if architecture.intermediate:
        return architecture.intermediate
    if architecture.kind in FULL_ATTENTION:
        return 4 * architecture.hidden
    return -(-8 * architecture.hidden // 3 // 32) * 32


def initial_deviation(architecture: Architecture) -> float:
    """Of fresh weights: 1/sqrt(hidden), which keeps activations at their scale (LeCun et al. 1998).

    transformers' own 0.02 means the same for a width of 2500; at a width of 96 it costs 0.2 bits after 160 steps.
    """
    return float(architecture.hidden**-0.5)


def describe_gpt2(architecture: Architecture) -> dict[str, Any]:
    """Learned positions, LayerNorm, GELU (Radford et al. 2019)."""
    return {
        "vocab_size": VOCABULARY,
        "n_embd": architecture.hidden,
        "n_layer": architecture.layers,
        "n_head": architecture.heads,
        "n_inner": intermediate_size(architecture),
        "n_positions": architecture.context,
        # One kernel; transformers' own default, gelu_new, is the same function in seven.
        "activation_function": "gelu_pytorch_tanh",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "initializer_range": initial_deviation(architecture),
        "tie_word_embeddings": architecture.tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def describe_gpt_neox(architecture: Architecture) -> dict[str, Any]:
    """Parallel attention and MLP, partly rotary positions, LayerNorm, GELU (Black et al. 2022)."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": architecture.hidden,
        "intermediate_size": intermediate_size(architecture),
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "max_position_embeddings": architecture.context,
        "initializer_range": initial_deviation(architecture),
        "tie_word_embeddings": architecture.tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def describe_llama(architecture: Architecture) -> dict[str, Any]:
    """Rotary positions, RMSNorm, SwiGLU (Touvron et al. 2023); Qwen2, Qwen3 and Mistral share its sizes."""
    return describe_gpt_neox(architecture) | {
        "num_key_value_heads": architecture.kv_heads or architecture.heads,
        "pad_token_id": None,
    }


def describe_qwen3(architecture: Architecture) -> dict[str, Any]:
    """Llama's sizes; the width of a head is a field of its own."""
    return describe_llama(architecture) | {"head_dim": architecture.hidden // architecture.heads}


KINDS: dict[str, Callable[[Architecture], dict[str, Any]]] = {
    "gpt2": describe_gpt2,
    "gpt_neox": describe_gpt_neox,
    "llama": describe_llama,
    "mistral": describe_llama,
    "qwen2": describe_llama,
    "qwen3": describe_qwen3,
}
FULL_ATTENTION = frozenset({"gpt2", "gpt_neox"})

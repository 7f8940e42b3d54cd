"""The configuration of a submission: what config.json says, before anything is built from it.

Invariants: nothing is imported or allocated for it; every number that would be a size is bounded, wherever it stands;
nothing in it names code, kernels or other files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.errors import ModelRefused
from models.host.folders import CONFIG_FILE, check_foreign, check_vocabulary
from models.intake.documents import Unreadable, is_finite, is_whole, read_document, walk
from models.intake.quotas import Quotas

CONFIG_BYTES = 1 << 20
LARGEST_NUMBER = 1 << 40
"""Of a whole number; the largest that means something is a base of rotary positions."""
LARGEST = {"vocab_size": 1 << 20, "num_labels": 1 << 16}
"""Of labels transformers makes a name each when it reads a configuration."""
INFINITE = frozenset({"time_step_limit", "__float__"})
"""Where Mamba 2 and its kin say that there is no limit."""

LAYERS = re.compile(r"(?<!feature_)(layers?|blocks|depth)$")
EXPERTS = re.compile(r"experts(_per_tok(en)?)?$")
CONTEXT = re.compile(r"position_embeddings$|^n_positions$|^n_ctx$|max_seq|seq_len|context_len|max_sequence")
WIDTH = re.compile(r"_(size|dims?|rank|width|heads?)$|^(n_embd|n_inner|n_head|d_model|d_ff|d_kv|d_inner|width|dim)$")
NO_WIDTH = re.compile(r"vocab|chunk")

CAUSAL = {"is_encoder_decoder": False, "is_causal": True, "use_bidirectional_attention": False}
"""What a decoder says, where it says anything; images before a text may see each other."""
HEADS = (("num_attention_heads", "num_key_value_heads"), ("num_attention_heads", "num_kv_heads"))
EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")


def read_configuration(folder: Path, quotas: Quotas) -> dict[str, Any]:
    """The configuration of a folder that was listed, all of it checked.

    Raises ModelRefused with a code of `check_foreign` or `check_vocabulary`, or `config`, `config_size`,
    `config_depth`, `config_repeats`, `config_number`, `config_range`, `layers`, `experts`, `context`, `width`,
    `not_a_decoder`, `quantised` or `config_contradiction`.
    """
    config = read_config_document(folder / CONFIG_FILE)
    check_foreign(config, folder)
    for _, name, value in walk(config):
        check_number(name, value, quotas)
    for part in objects(config):
        check_decodes(part)
        if part.get("quantization_config") is not None:
            raise ModelRefused(
                "quantised", f"{CONFIG_FILE} says that weights are quantised: give them in floating point"
            )
        check_contradictions(part)
    check_vocabulary(config, folder)
    return config


def read_config_document(path: Path) -> dict[str, Any]:
    """The object in config.json."""
    try:
        return read_document(path, CONFIG_BYTES)
    except Unreadable as error:
        if error.fault == "size":
            raise ModelRefused("config_size", error.sentence) from None
        if error.fault == "depth":
            raise ModelRefused("config_depth", error.sentence) from None
        if error.fault == "repeats":
            raise ModelRefused("config_repeats", error.sentence) from None
        raise ModelRefused("config", error.sentence) from None


def check_number(name: str, value: Any, quotas: Quotas) -> None:
    """Refuse a number that no model can have under this name, or that is over its quota."""
    if not is_finite(value) and name not in INFINITE:
        raise ModelRefused("config_number", f"{CONFIG_FILE} sets {name} to {value}: a finite number is wanted")
    length = len(value) if isinstance(value, list) and name == "layer_types" else value
    if not is_whole(length):
        return
    is_layers, is_experts = LAYERS.search(name), EXPERTS.search(name)
    is_context, is_width = CONTEXT.search(name), WIDTH.search(name) and not NO_WIDTH.search(name)
    if abs(length) > LARGEST_NUMBER or (length < 0 and (is_layers or is_experts or is_context or is_width)):
        raise ModelRefused("config_range", f"{CONFIG_FILE} sets {name} to {length}: no model can have that")
    if is_layers and length > quotas.layers:
        raise ModelRefused("layers", over_quota(name, length, quotas.layers))
    if is_experts and length > quotas.experts:
        raise ModelRefused("experts", over_quota(name, length, quotas.experts))
    if is_context and length > quotas.context_tokens:
        raise ModelRefused("context", over_quota(name, length, quotas.context_tokens))
    if is_width and length > quotas.width:
        raise ModelRefused("width", over_quota(name, length, quotas.width))
    if name in LARGEST and not 1 <= length <= LARGEST[name]:
        raise ModelRefused("config_range", f"{CONFIG_FILE} sets {name} to {length:,}: 1 to {LARGEST[name]:,}")


def over_quota(name: str, number: int, most: int) -> str:
    """The sentence for a number above the network's quota."""
    return f"{CONFIG_FILE} sets {name} to {number:,}, this network takes {most:,}: use a smaller model"


def objects(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration and every object in it."""
    yield config
    yield from (value for _, _, value in walk(config) if isinstance(value, dict))


def check_decodes(part: dict[str, Any]) -> None:
    """Refuse what would let a model see the text that it is asked about."""
    for name, causal in CAUSAL.items():
        if part.get(name, causal) not in (causal, None, "vision"):
            raise ModelRefused(
                "not_a_decoder", f"{CONFIG_FILE} sets {name} to {part[name]}: a peer sees no text that comes later"
            )


def check_contradictions(part: dict[str, Any]) -> None:
    """Refuse sizes that cannot be true together."""
    for whole, parts in HEADS:
        check_divides(part, whole, parts)
    types, layers = part.get("layer_types"), part.get("num_hidden_layers")
    if isinstance(types, list) and is_whole(layers) and len(types) != layers:
        raise contradiction(f"num_hidden_layers is {layers} and layer_types has {len(types)}")
    chosen = part.get("num_experts_per_tok")
    for name in EXPERT_COUNTS:
        if is_whole(chosen) and is_whole(part.get(name)) and chosen > part[name]:
            raise contradiction(f"num_experts_per_tok is {chosen} and {name} is {part[name]}")
    padding, vocabulary = part.get("pad_token_id"), part.get("vocab_size")
    if is_whole(padding) and is_whole(vocabulary) and padding >= vocabulary:
        raise contradiction(f"pad_token_id is {padding} and vocab_size is {vocabulary}")


def check_divides(part: dict[str, Any], whole: str, parts: str) -> None:
    """Refuse a number that the other does not divide, where both are given."""
    total, number = part.get(whole), part.get(parts)
    if is_whole(total) and is_whole(number) and (number < 1 or total % number):
        raise contradiction(f"{parts} is {number}, which does not divide {whole}, {total}")


def contradiction(sentence: str) -> ModelRefused:
    """The refusal of sizes that contradict each other."""
    return ModelRefused("config_contradiction", f"in {CONFIG_FILE} {sentence}: save the model again")

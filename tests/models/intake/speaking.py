"""Submissions whose files are in order, and that are refused by what their trial shows; and some that pass.

Each is a code and how a good llama of bytes becomes its case; the trial is small.
"""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.models.intake.architectures import make
from tests.models.intake.building import (
    WEIGHTS,
    Change,
    adapted,
    configured,
    lora_pair,
    one_number,
    text,
    weighed,
    write_tensors,
)

WORDS = ["def mean(values):\n    return sum(values) / len(values)\n", "the byte is the unit of what is told\n"] * 3
LARGE = {"hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 8, "head_dim": 128}
"""58 million parameters."""


def byte_pairs() -> Tokenizer:
    """A tokenizer that spells every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    return tokenizer


def whole_lines() -> Tokenizer:
    """A tokenizer for which a line is one unknown word."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "\n": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    return tokenizer


def lower_case() -> Tokenizer:
    tokenizer = byte_pairs()
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def never_done() -> Tokenizer:
    """A tokenizer with expressions of 3^14 ways to fail at every letter, less than where the library gives up."""
    tokenizer = byte_pairs()
    slow = pre_tokenizers.Split(Regex(r"(?:[a-z]|\w|[^0-9]){1,14}(?<=\d\d\d\d\d\d)"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([slow] * 24 + [pre_tokenizers.ByteLevel(False)])
    return tokenizer


def tokenised(build: Any, **fields: Any) -> Change:
    """A model of the same sizes for a tokenizer."""

    def change(folder: Path) -> None:
        tokenizer = build()
        make("llama", folder, **({"vocab_size": tokenizer.get_vocab_size()} | fields))
        tokenizer.save(str(folder / "tokenizer.json"))

    return change


def another(kind: str, **fields: Any) -> Change:
    """A model of a kind that `architectures.py` has not."""

    def change(folder: Path) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        config = AutoConfig.for_model(kind, vocab_size=256, max_position_embeddings=512, **sizes, **fields)
        with torch.random.fork_rng(devices=[]):
            AutoModelForCausalLM.from_config(config).eval().save_pretrained(folder)

    return change


def large(folder: Path) -> None:
    """58 million zeros in 16 bits, which take no place on the disk."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    configured(**LARGE)(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    header, place = {}, 0
    for name, tensor in model.state_dict().items():
        end = place + 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    write_tensors(folder / WEIGHTS, header, b"")
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(file.seek(0, 2) + place)


def uneven_experts(folder: Path) -> None:
    """A mixture of experts in which one is smaller, so that they cannot be laid side by side."""
    make("mixtral", folder)
    small = np.zeros((7, 9), np.float32)
    weighed(lambda tensors: tensors.update({"model.layers.0.block_sparse_moe.experts.0.w2.weight": small}))(folder)


def replaced(name: str, value: np.ndarray) -> Change:
    return weighed(lambda tensors: tensors.update({name: value}))


def drop(tensors: dict[str, np.ndarray]) -> None:
    del tensors["model.norm.weight"]


def overflow(tensors: dict[str, np.ndarray]) -> None:
    tensors["lm_head.weight"] *= np.float32(1e38)


REFUSED: dict[str, tuple[str, Change]] = {
    "an architecture that nobody knows": ("architecture", configured(model_type="oracle")),
    "an architecture without a name": ("architecture", configured(model_type=None)),
    "an architecture for images": ("not_a_decoder", configured(model_type="vit")),
    "an encoder": ("not_causal", another("bert")),
    "a size in words": ("config_invalid", configured(hidden_size="wide")),
    "an activation that nobody knows": ("config_invalid", configured(hidden_act="exec")),
    "five times the files": ("config_weights", configured(intermediate_size=512)),
    "a tensor too few": ("missing_tensors", weighed(drop)),
    "a tensor too many": ("unexpected_tensors", replaced("model.extra.weight", np.zeros(8, np.float32))),
    "a tensor of another shape": ("tensor_shape", replaced("lm_head.weight", np.zeros((256, 8), np.float32))),
    "another width": ("tensor_shape", configured(intermediate_size=72)),
    "experts of unlike sizes": ("weights", uneven_experts),
    "NaN": ("nan", one_number(float("nan"))),
    "infinity": ("infinity", one_number(float("-inf"))),
    "numbers that overflow": ("nan_answers", weighed(overflow)),
    "answers without names": ("fails", configured(return_dict=False)),
    "a tokenizer that is no JSON": ("tokenizer", text("tokenizer.json", "[")),
    "a tokenizer of nothing": ("tokenizer", text("tokenizer.json", "{}")),
    "a tokenizer nested deep": ("tokenizer", text("tokenizer.json", '{"model":' * 100_000)),
    "more ids than the model knows": ("token_ids", tokenised(byte_pairs, vocab_size=256)),
    "letters that are changed": ("lossy_tokenizer", tokenised(lower_case)),
    "a line a token": ("coarse_tokenizer", tokenised(whole_lines)),
    "an adapter of no layer": ("adapter_layers", adapted(lora_pair("model.layers.7.self_attn.q_proj"))),
    "an adapter of another width": ("adapter_layers", adapted(lora_pair("model.layers.0.self_attn.q_proj", inputs=31))),
    "an adapter of another rank": ("adapter_weights", adapted(lora_pair("model.layers.0.self_attn.q_proj", rank=3))),
    "an adapter of NaN": (
        "nan",
        adapted({name: part * np.nan for name, part in lora_pair("model.layers.0.self_attn.q_proj").items()}),
    ),
}

PASSED: dict[str, Change] = {
    "tokens": tokenised(byte_pairs),
    "16 bits": weighed(
        lambda tensors: tensors.update({name: part.astype(np.float16) for name, part in tensors.items()})
    ),
    "an adapter": adapted(),
}

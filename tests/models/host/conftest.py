"""Tokenizers trained on the spot on the standard library's text, and tiny random models that read them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

MULTIBYTE = "naïve café — 漢字かな交じり文, €5 and ½ of 😀😀 é\n"
"""Characters of two, three and four bytes."""
FILES = ("textwrap", "string", "this", "bisect", "heapq", "shlex", "keyword", "stat")


def training_text() -> list[str]:
    return [(Path(os.__file__).parent / f"{name}.py").read_text("utf-8") for name in FILES] + [MULTIBYTE] * 2


def train_byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def train_sentence_bpe() -> Tokenizer:
    """As Llama 2's: a space is put before the text, spaces are ▁, what is missing is told in bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=80, show_progress=False
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return with_byte_tokens(tokenizer, byte_tokens)


def with_byte_tokens(tokenizer: Tokenizer, byte_tokens: list[str]) -> Tokenizer:
    """The same with a token for each byte, and byte fallback."""
    description = json.loads(tokenizer.to_str())
    model = description["model"]
    if model["type"] == "BPE":
        first = len(model["vocab"])
        model["vocab"] |= {token: first + rank for rank, token in enumerate(byte_tokens)}
    else:
        model["vocab"] += [[token, -30.0] for token in byte_tokens]
    model["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(description))


def train_unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=500, unk_token="<unk>", special_tokens=["<unk>", "<s>"], show_progress=False
    )
    tokenizer.train_from_iterator([text[:20000] for text in training_text()], trainer)
    return with_byte_tokens(tokenizer, [f"<0x{byte:02X}>" for byte in range(256)])


def train_word_piece() -> Tokenizer:
    """Continuations are marked ##, white space is kept, what is missing is unknown."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    spaces = pre_tokenizers.Split(" ", "isolated")
    lines = pre_tokenizers.Split("\n", "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, lines, pre_tokenizers.Punctuation("isolated")])
    trainer = trainers.WordPieceTrainer(
        vocab_size=700, special_tokens=["[UNK]", "[CLS]"], show_progress=False, limit_alphabet=120
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


TRAINERS = {
    "byte_bpe": (train_byte_bpe, {"bos_token": None, "eos_token": "<|endoftext|>"}),
    "sentence_bpe": (train_sentence_bpe, {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}),
    "unigram": (train_unigram, {"bos_token": "<s>"}),
    "word_piece": (train_word_piece, {}),
}


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Tokenizer]:
    """Four tokenizers by kind."""
    return {kind: train() for kind, (train, _) in TRAINERS.items()}


@pytest.fixture(scope="session")
def save_model_for() -> Callable[..., None]:
    """`write_tiny`, for tests."""
    return write_tiny


@pytest.fixture(scope="session")
def folders(tokenizers, tmp_path_factory, one_thread) -> dict[str, Path]:
    """A tiny model for each tokenizer, and one for bytes."""
    from models.host.architectures import Architecture, build_model
    from models.host.folders import save_model

    root = tmp_path_factory.mktemp("tokenized")
    save_model(build_model(Architecture("llama", 16, 1, 2, context=64), 1), root / "bytes")
    for kind, tokenizer in tokenizers.items():
        write_tiny(root / kind, "llama", tokenizer, TRAINERS[kind][1])
    return {folder.name: folder for folder in root.iterdir()}


SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}


def write_tiny(folder: Path, kind: str, tokenizer: Tokenizer, specials: dict, **fields: object) -> None:
    """A random model of `kind` for a tokenizer, in its folder. Weights are large, so that nothing is nearly uniform."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = SIZES | {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": None, "eos_token_id": None} | fields
    if kind == "gpt2":
        sizes |= {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    if kind == "opt":
        sizes |= {"ffn_dim": 32, "word_embed_proj_dim": 12, "init_std": 0.2, "pad_token_id": 1}
    config = AutoConfig.for_model(kind, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        AutoModelForCausalLM.from_config(config).eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(specials))

"""Submissions that are refused by what their folders and files say: a code, and how a good model becomes its case.

The model is the llama of `architectures.py`, whose vocabulary is the bytes.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from models.intake.quotas import Quotas
from tests.models.intake.building import (
    INDEX,
    LORA,
    QUANTISED,
    WEIGHTS,
    Change,
    adapted,
    configured,
    entry,
    grown,
    headed,
    sharded,
    sized,
    text,
    together,
    without,
    write_tensors,
)

QUOTAS = Quotas(mib=16, files=12, parameters=0.5, layers=8, width=512, context_tokens=4096, rank=8, trial_mib=128)


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def linked(folder: Path) -> None:
    (folder / "tokenizer.json").symlink_to("/etc/hostname")


def swapped(folder: Path) -> None:
    """Two tensors lie over each other, and their sizes agree with their shapes."""

    def edit(header: dict[str, Any]) -> None:
        place = header["model.layers.0.mlp.gate_proj.weight"]["data_offsets"]
        header["model.layers.0.mlp.up_proj.weight"]["data_offsets"] = place

    headed(edit)(folder)


def repeated_header(folder: Path) -> None:
    norm = b'"norm":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}'
    write_tensors(folder / WEIGHTS, b"{" + norm + b"," + norm + b"}", bytes(32))


def crowded(folder: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write_tensors(folder / WEIGHTS, {f"t{number}": empty for number in range((1 << 15) + 1)}, b"")


def holed(folder: Path) -> None:
    header = {"norm": {"dtype": "F32", "shape": [8], "data_offsets": [16, 48]}}
    write_tensors(folder / WEIGHTS, header, bytes(48))


def twice(folder: Path) -> None:
    """The same tensors in both shards."""
    sharded()(folder)
    (folder / "model-1-of-2.safetensors").write_bytes((folder / "model-2-of-2.safetensors").read_bytes())


def moved(places: dict[str, str]) -> None:
    places["model.norm.weight"] = "model-1-of-2.safetensors"


def outside(places: dict[str, str]) -> None:
    places["model.norm.weight"] = "../other/model.safetensors"


def missing(places: dict[str, str]) -> None:
    places["model.norm.weight"] = "model-3-of-2.safetensors"


LONG_HEADER = (8 << 20) + 1

LISTED: dict[str, tuple[str, Change]] = {
    "a file": ("not_a_folder", no_folder),
    "nothing": ("empty_folder", emptied),
    "a link": ("link", linked),
    "a pipe": ("special_file", lambda folder: os.mkfifo(folder / "pipe.json")),
    "a subfolder": ("subfolder", lambda folder: (folder / "onnx").mkdir()),
    "a pickle": ("pickle", text("pytorch_model.bin")),
    "a pickle of tensors": ("pickle", text("weights.PT")),
    "a checkpoint": ("pickle", text("last.ckpt")),
    "code": ("code", text("modeling_llama.py", "import os")),
    "a library": ("code", text("kernel.so")),
    "a name with a backslash": ("name", text("con\\fig.json")),
    "a name with a line break": ("name", text("a\nb.json")),
    "another format": ("unknown_file", text("model.gguf")),
    "many files": ("files", together(*(text(f"notes-{number}.txt") for number in range(12)))),
    "17 MiB": ("size", sized("more.txt", 17 << 20)),
    "no configuration": ("no_config", without("config.json")),
    "no weights": ("no_weights", without(WEIGHTS)),
    "a model and an adapter": ("adapter", text("adapter_config.json", json.dumps(LORA))),
}

CONFIGURED: dict[str, tuple[str, Change]] = {
    "no JSON": ("config", text("config.json", "{'model_type': 'llama'}")),
    "a list": ("config", text("config.json", "[]")),
    "no text": ("config", lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{}")),
    "two megabytes": ("config_size", text("config.json", json.dumps({"_": "a" * (2 << 20)}))),
    "a million values": ("config_size", text("config.json", '{"_":[' + "0," * (1 << 19) + "0]}")),
    "nested a hundred thousand times": ("config_depth", text("config.json", '{"a":' * 100_000)),
    "nested forty times": ("config_depth", text("config.json", '{"a":' * 40 + "1" + "}" * 40)),
    "said twice": ("config_repeats", text("config.json", '{"vocab_size": 256, "vocab_size": 50257}')),
    "NaN": ("config_number", configured(rms_norm_eps=float("nan"))),
    "infinity": ("config_number", configured(rope_theta=float("inf"))),
    "negative": ("config_range", configured(hidden_size=-32)),
    "beyond all numbers": ("config_range", configured(sliding_window=10**300)),
    "no vocabulary at all": ("config_range", configured(vocab_size=0)),
    "a hundred million labels": ("config_range", configured(num_labels=10**8)),
    "heads that do not divide": ("config_contradiction", configured(num_key_value_heads=3)),
    "layers of two counts": ("config_contradiction", configured(layer_types=["full_attention"] * 3)),
    "more experts chosen than there are": (
        "config_contradiction",
        configured(num_experts=2, num_experts_per_tok=3),
    ),
    "its own code": ("auto_map", configured(auto_map={"AutoModelForCausalLM": "modeling.Model"})),
    "its own code deep inside": ("auto_map", configured(text_config={"auto_map": {}})),
    "a kernel": ("kernel", configured(_attn_implementation="somebody/kernel")),
    "a kernel for a part": ("kernel", configured(attn_implementation={"": ["sdpa", "flash_attention_2"]})),
    "weights elsewhere": ("other_weights", configured(transformers_weights="../../other/model.safetensors")),
    "an encoder and a decoder": ("not_a_decoder", configured(is_encoder_decoder=True)),
    "no causality": ("not_a_decoder", configured(is_causal=False)),
    "no causality inside": ("not_a_decoder", configured(text_config={"use_bidirectional_attention": True})),
    "quantised": ("quantised", configured(**QUANTISED)),
    "10^9 layers": ("layers", configured(num_hidden_layers=10**9)),
    "10^9 layers by their other name": ("layers", configured(n_layer=10**9)),
    "a million experts": ("experts", configured(num_local_experts=10**6)),
    "a context of 10^9": ("context", configured(max_position_embeddings=10**9)),
    "a width of 10^9": ("width", configured(intermediate_size=10**9)),
    "a vocabulary and no tokenizer": ("vocabulary", configured(vocab_size=50257)),
}

HEADED: dict[str, tuple[str, Change]] = {
    "an empty file": ("header_length", lambda folder: (folder / WEIGHTS).write_bytes(b"")),
    "a header longer than the file": (
        "header_length",
        lambda folder: write_tensors(folder / WEIGHTS, b"{}", b"", says=2**63),
    ),
    "a header of 8 MiB": ("header_size", lambda folder: write_tensors(folder / WEIGHTS, b" " * LONG_HEADER, b"")),
    "a header of brackets": ("header", lambda folder: write_tensors(folder / WEIGHTS, b"[" * (4 << 20), b"")),
    "a header of numbers": ("header", lambda folder: write_tensors(folder / WEIGHTS, b"[" + b"0," * (3 << 20), b"")),
    "a header that is cut off": ("header", lambda folder: write_tensors(folder / WEIGHTS, b'{"a":', b"")),
    "a note that is no text": ("header", headed(lambda header: header.update(__metadata__={"format": 1}))),
    "a tensor named twice": ("header_repeats", repeated_header),
    "32,769 tensors": ("tensors", crowded),
    "a negative size": ("tensor_entry", entry(shape=[-32])),
    "a size that is no number": ("tensor_entry", entry(shape=["32"])),
    "an end before its beginning": ("tensor_entry", entry(data_offsets=[128, 0])),
    "an entry that is a list": ("tensor_entry", headed(lambda header: header.update({"model.norm.weight": []}))),
    "a type that nobody knows": ("tensor_dtype", entry(dtype="F31")),
    "a type of 8 bits": ("tensor_dtype", entry(dtype="F8_E4M3")),
    "integers": ("integer_weights", entry(dtype="I32")),
    "a shape that lies": ("tensor_size", entry(shape=[33])),
    "a shape beyond 64 bits": ("tensor_size", entry(shape=[2**40, 2**40])),
    "one over the other": ("tensor_overlap", swapped),
    "a hole": ("tensor_gap", holed),
    "a cut": ("truncated", grown(-100)),
    "something after the end": ("trailing_bytes", grown(100)),
    "nothing in it": ("no_weights", lambda folder: write_tensors(folder / WEIGHTS, {}, b"")),
    "too many numbers": (
        "parameters",
        lambda folder: write_tensors(
            folder / WEIGHTS,
            {"a": {"dtype": "F16", "shape": [600_000], "data_offsets": [0, 1_200_000]}},
            bytes(1_200_000),
        ),
    ),
    "an index that is no JSON": ("index", together(sharded(), text(INDEX, "model.safetensors"))),
    "an index without a map": ("index", together(sharded(), text(INDEX, '{"weight_map": []}'))),
    "an index that leaves the folder": ("index_path", sharded(outside)),
    "an index to what is missing": ("index_file", sharded(missing)),
    "an index to the wrong file": ("index_tensor", sharded(moved)),
    "an index that leaves one out": ("index_tensor", sharded(lambda places: places.pop("lm_head.weight"))),
    "a file that the index leaves out": (
        "stray_file",
        together(sharded(), lambda folder: write_tensors(folder / "more.safetensors", {}, b"")),
    ),
    "a tensor in two files": ("repeated_tensor", twice),
    "an adapter without weights": ("adapter_weights", together(adapted(), without("adapter_model.safetensors"))),
    "an adapter of another kind": ("adapter", adapted(peft_type="IA3")),
    "an adapter that is no JSON": ("adapter", together(adapted(), text("adapter_config.json", "{"))),
    "an adapter of rank 9": ("adapter_rank", adapted(r=9)),
    "an adapter of rank nothing": ("adapter_rank", adapted(r=0)),
    "an adapter over a path": ("adapter_base", adapted(base_model_name_or_path="../base")),
    "an adapter over what is not here": ("adapter_base", adapted()),
}

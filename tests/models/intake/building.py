"""Ways to break a model folder: what the hostile folders of the tests are made with."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[Path], object]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
QUANTISED = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "ab" * 32, "bias": "none"}


def text(name: str, content: str = "") -> Change:
    """A further file, or another content."""
    return lambda folder: (folder / name).write_text(content)


def without(*names: str) -> Change:
    """Files are missing."""
    return lambda folder: [(folder / name).unlink() for name in names]


def sized(name: str, size_bytes: int) -> Change:
    """A file of zeros, which takes no place on the disk."""

    def change(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size_bytes)

    return change


def configured(**fields: Any) -> Change:
    """Other fields in config.json."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def read_header(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and its data."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_tensors(path: Path, header: dict[str, Any] | bytes, data: bytes, *, says: int | None = None) -> None:
    """A safetensors file, whatever it says; `says`: the length that it gives its header."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if says is None else says) + encoded + data)


def headed(edit: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Change:
    """The same data under another header."""

    def change(folder: Path) -> None:
        header, data = read_header(folder / name)
        edit(header)
        write_tensors(folder / name, header, data)

    return change


def entry(**fields: Any) -> Change:
    """Another entry for one tensor."""
    return headed(lambda header: header["model.norm.weight"].update(fields))


def grown(extra: int) -> Change:
    """Weights with bytes after them, or without their last."""

    def change(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(content + bytes(extra) if extra >= 0 else content[:extra])

    return change


def weighed(edit: Callable[[dict[str, np.ndarray]], object], name: str = WEIGHTS) -> Change:
    """Other tensors, properly saved."""
    from safetensors.numpy import load_file, save_file

    def change(folder: Path) -> None:
        tensors = load_file(folder / name)
        edit(tensors)
        save_file(tensors, folder / name, metadata={"format": "pt"})

    return change


def one_number(value: float) -> Change:
    """One weight has another value."""

    def edit(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = value

    return weighed(edit)


def sharded(edit: Callable[[dict[str, str]], object] | None = None) -> Change:
    """Weights in two files with an index, whose map may be edited."""
    from safetensors.numpy import load_file, save_file

    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        names = sorted(tensors)
        places = {name: f"model-{1 + (rank > 5)}-of-2.safetensors" for rank, name in enumerate(names)}
        for place in sorted(set(places.values())):
            part = {name: tensors[name] for name in names if places[name] == place}
            save_file(part, folder / place, metadata={"format": "pt"})
        if edit is not None:
            edit(places)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))

    return change


def adapted(tensors: dict[str, np.ndarray] | None = None, **fields: Any) -> Change:
    """An adapter instead of a model."""
    from safetensors.numpy import save_file

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / "adapter_config.json").write_text(json.dumps(LORA | fields))
        save_file(tensors or lora_pair("model.layers.0.self_attn.q_proj"), folder / "adapter_model.safetensors")

    return change


def lora_pair(layer: str, rank: int = 2, inputs: int = 32, outputs: int = 32) -> dict[str, np.ndarray]:
    """The tensors of one adapted layer."""
    generator = np.random.default_rng(0)
    return {
        f"base_model.model.{layer}.lora_A.weight": generator.normal(size=(rank, inputs)).astype(np.float32),
        f"base_model.model.{layer}.lora_B.weight": generator.normal(size=(outputs, rank)).astype(np.float32),
    }


def together(*changes: Change) -> Change:
    """One change after another."""
    return lambda folder: [change(folder) for change in changes]

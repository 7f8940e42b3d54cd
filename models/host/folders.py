"""Model folders: config.json and model.safetensors, in the layout of Hugging Face.

Invariants: a folder is only ever read as JSON and safetensors, and no code in it or named by it is run, nor
any fetched for it; a model that loads has every tensor it needs, in the shape it needs, and reads bytes or has a
tokenizer; the process's random state is left as it was.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import ModelRefused
from models.faults import is_exhaustion
from models.host.architectures import VOCABULARY

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Read by transformers as it is imported: where the package `kernels` is installed, it fetches code for some models.
os.environ.setdefault("USE_HUB_KERNELS", "NO")

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_FILE = "adapter_config.json"
"""Where peft is installed, transformers loads the weights that this file names instead of the folder's."""
OWN_IMPLEMENTATIONS = frozenset({"eager", "sdpa", "grouped_mm", "batched_mm"})
"""Of attention and of experts, in PyTorch's own operations; for others transformers may fetch a kernel and run it."""


def save_model(model: "PreTrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, which is made and must be empty."""
    from safetensors.torch import save_model as save_tensors

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ModelRefused("folder", f"{folder} is not empty: give a new folder")
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(folder / CONFIG_FILE, use_diff=True)
    save_tensors(model, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})


def load_model(folder: Path, device: str = "cpu", dtype: "torch.dtype | None" = None) -> "PreTrainedModel":
    """A model in eval mode on `device`, its weights as `dtype`, float32 where None.

    Raises ModelRefused with a code of `check_config` or `check_report`, or `no_config`, `config`, `no_weights` or
    `weights`; MemoryError or what PyTorch raises for it where there is too little memory.
    """
    import torch

    check_config(read_config(folder), folder)
    if not any(folder.glob("*.safetensors")):
        raise ModelRefused("no_weights", f"{folder} has no *.safetensors: save the weights with safe serialization")
    model, report = read_weights(folder, dtype or torch.float32)
    check_report(report, folder)
    model.train(False).to(torch.device(device))
    return model


def check_report(report: dict[str, Any], folder: Path) -> None:
    """Refuse weights that are not those of the configuration, by what transformers reports of loading them.

    Raises ModelRefused with code `missing_tensors`, `tensor_shape` or `unexpected_tensors`.
    """
    if missing := sorted(report["missing_keys"]):
        raise ModelRefused("missing_tensors", f"{folder} lacks {len(missing)} tensors, the first is {missing[0]}")
    if mismatched := sorted((str(name), tuple(here), tuple(there)) for name, here, there in report["mismatched_keys"]):
        name, here, there = mismatched[0]
        raise ModelRefused(
            "tensor_shape",
            f"{folder} has {len(mismatched)} tensors of other shapes than its configuration says: {name} is {here}, "
            f"not {there}",
        )
    if unexpected := sorted(report["unexpected_keys"]):
        raise ModelRefused(
            "unexpected_tensors",
            f"{folder} has {len(unexpected)} tensors that its configuration knows nothing of, the first is "
            f"{unexpected[0]}: remove them",
        )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json."""
    if not (folder / CONFIG_FILE).exists():
        raise ModelRefused("no_config", f"{folder} has no config.json: give a folder in the Hugging Face layout")
    return read_object(folder / CONFIG_FILE)


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelRefused with code `config`, or `tokenizer` for the files of one."""
    code = "config" if path.name == CONFIG_FILE else "tokenizer"
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelRefused(code, f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelRefused(code, f"{path} is not a JSON object")
    return content


def has_tokenizer(folder: Path) -> bool:
    """Whether the model reads tokens; one without a tokenizer reads bytes."""
    return (folder / TOKENIZER_FILE).exists()


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_FILE).exists() and not (folder / CONFIG_FILE).exists()


def check_config(config: dict[str, Any], folder: Path) -> None:
    """Refuse what would need foreign code, a class this transformers has not, or text that nobody can read.

    Raises ModelRefused with a code of `check_foreign`, `check_decoder` or `check_vocabulary`, or `adapter`.
    """
    check_foreign(config, folder)
    if (folder / ADAPTER_FILE).exists():
        raise ModelRefused("adapter", f"{folder} has {ADAPTER_FILE}, which names other weights: give whole weights")
    check_decoder(config, folder)
    check_vocabulary(config, folder)


def check_foreign(config: dict[str, Any], folder: Path) -> None:
    """Refuse a configuration that names code, kernels or other weights.

    Raises ModelRefused with code `auto_map`, `kernel` or `other_weights`.
    """
    for names, value in named_values(config):
        name = names[-1]
        if name == "auto_map":
            raise ModelRefused("auto_map", f"{folder} names its own code (auto_map), and no code is hosted: remove it")
        if isinstance(value, str) and names_kernel(names, value):
            raise ModelRefused(
                "kernel", f"{folder} asks for {value!r} to compute with, which may be code: remove {name}"
            )
        if name in ("transformers_weights", "fusion_config") and value is not None:
            raise ModelRefused("other_weights", f"{folder} has {name}, which changes what is loaded: remove it")


def check_decoder(config: dict[str, Any], folder: Path) -> None:
    """Refuse an architecture that this transformers has not, or has not as a decoder.

    Raises ModelRefused with code `architecture` or `not_a_decoder`.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if isinstance(kind, str) and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if isinstance(kind, str) and kind in CONFIG_MAPPING:
        raise ModelRefused("not_a_decoder", f"{folder} is a {kind!r}, which says nothing of the next token")
    raise ModelRefused("architecture", f"{folder} is a {kind!r}, which this transformers does not know")


def check_vocabulary(config: dict[str, Any], folder: Path) -> None:
    """Refuse a model whose text nobody could read. Raises ModelRefused with code `vocabulary`."""
    if not has_tokenizer(folder) and config.get("vocab_size") != VOCABULARY:
        raise ModelRefused(
            "vocabulary",
            f"{folder} has vocab_size {config.get('vocab_size')} and no {TOKENIZER_FILE}: give its tokenizer; without "
            "one a model reads bytes, and it must be 256",
        )


def names_kernel(names: tuple[str, ...], value: str) -> bool:
    """Whether a text, under these names, says to compute with something that may have to be fetched."""
    if any("implementation" in name for name in names):
        return value not in OWN_IMPLEMENTATIONS
    return "/" in value and any("kernel" in name for name in names)


def named_values(value: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a config, at any depth, with the names that lead to it."""
    if names:
        yield names, value
    if isinstance(value, dict):
        for key, part in value.items():
            yield from named_values(part, (*names, key))
    elif isinstance(value, list):
        for part in value:
            yield from named_values(part, names)


def read_weights(folder: Path, dtype: "torch.dtype") -> tuple["PreTrainedModel", dict[str, Any]]:
    """The model as transformers reads it, and its report of the tensors that it missed."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    auto: Any = AutoModelForCausalLM
    logging: Any = transformers_logging
    shows_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # Tensors that are missing would be drawn at random before they are reported.
        with torch.random.fork_rng(devices=[]):
            model, report = auto.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:
        if is_exhaustion(error):
            raise
        # A contradictory folder makes transformers fail with whatever the contradiction meets first: all of it is the
        # folder's fault, and ends as its refusal.
        first_line = str(error).strip().partition("\n")[0]
        raise ModelRefused("weights", f"{folder} does not load ({first_line})") from None
    finally:
        if shows_progress:
            logging.enable_progress_bar()
    return model, report

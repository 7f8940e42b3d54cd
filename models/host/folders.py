"""Model folders: config.json and model.safetensors, in the layout of Hugging Face.

Invariants: a folder is only ever read as JSON and safetensors, and no code in it or named by it is run; a model that
loads has every tensor it needs, in the shape it needs, and reads bytes or has a tokenizer; the process's random state
is left as it was.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.errors import ModelRefused
from models.host.architectures import VOCABULARY

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
ADAPTER_FILE = "adapter_config.json"
"""Where peft is installed, transformers loads the weights that this file names instead of the folder's."""


def save_model(model: "PreTrainedModel", folder: Path) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, which is made and must be empty."""
    from safetensors.torch import save_model as save_tensors

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ModelRefused("folder", f"{folder} is not empty: give a new folder")
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(folder / CONFIG_FILE, use_diff=True)
    save_tensors(model, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})


def load_model(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> "PreTrainedModel":
    """A model in eval mode on `device`.

    Raises ModelRefused with code `no_config`, `config`, `remote_code`, `adapter`, `vocabulary`, `no_weights`,
    `architecture`, `weights` or `missing_tensors`.
    """
    check_config(read_config(folder), folder)
    if not any(folder.glob("*.safetensors")):
        raise ModelRefused("no_weights", f"{folder} has no *.safetensors: save the weights with safe serialization")
    model, report = read_weights(folder, dtype)
    wanting = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if wanting:
        raise ModelRefused(
            "missing_tensors", f"{folder} lacks {len(wanting)} tensors of their right shape, the first is {wanting[0]}"
        )
    model.train(False).to(torch.device(device))
    return model


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json."""
    if not (folder / CONFIG_FILE).exists():
        raise ModelRefused("no_config", f"{folder} has no config.json: give a folder in the Hugging Face layout")
    return read_object(folder / CONFIG_FILE)


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelRefused with code `config`."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelRefused("config", f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ModelRefused("config", f"{path} is not a JSON object")
    return content


def has_tokenizer(folder: Path) -> bool:
    """Whether the model reads tokens; one without a tokenizer reads bytes."""
    return (folder / TOKENIZER_FILE).exists()


def check_config(config: dict[str, Any], folder: Path) -> None:
    """Refuse what would need foreign code, a class this transformers has not, or text that nobody can read."""
    if "auto_map" in config:
        raise ModelRefused("remote_code", f"{folder} names its own code (auto_map), and no code is hosted")
    if named := next(named_kernels(config), None):
        raise ModelRefused("remote_code", f"{folder} names a kernel to fetch ({named!r}), and no code is hosted")
    if (folder / ADAPTER_FILE).exists():
        raise ModelRefused("adapter", f"{folder} has {ADAPTER_FILE}, which names other weights: give whole weights")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelRefused("architecture", f"{folder} is a {kind!r}, which this transformers cannot run as a decoder")
    if not has_tokenizer(folder) and config.get("vocab_size") != VOCABULARY:
        raise ModelRefused(
            "vocabulary",
            f"{folder} has vocab_size {config.get('vocab_size')} and no {TOKENIZER_FILE}: give its tokenizer; without "
            "one a model reads bytes, and it must be 256",
        )


def named_kernels(value: Any, inside: bool = False) -> Iterator[str]:
    """Repositories of kernels that a config names, at any depth: transformers fetches and runs them where it can."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from named_kernels(part, inside or "implementation" in key or "kernel" in key)
    elif isinstance(value, list):
        for part in value:
            yield from named_kernels(part, inside)
    elif inside and isinstance(value, str) and "/" in value:
        yield value


def read_weights(folder: Path, dtype: torch.dtype) -> tuple["PreTrainedModel", dict[str, Any]]:
    """The model as transformers reads it, and its report of the tensors that it missed."""
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
                output_loading_info=True,
            )
    except Exception as error:
        # A contradictory folder makes transformers fail with whatever the contradiction meets first: all of it is the
        # folder's fault, and ends as its refusal.
        first_line = str(error).strip().partition("\n")[0]
        raise ModelRefused("weights", f"{folder} does not load ({first_line})") from None
    finally:
        if shows_progress:
            logging.enable_progress_bar()
    return model, report

"""Adapters: LoRA weights in PEFT's layout, merged into a loaded base by one product for each layer.

Invariants: an adapter is read as JSON and safetensors; either all of it is merged or it is refused, so nothing of what
it says is ignored in silence.

Source: Hu et al. 2021 (W + α/r · B·A), Kalajdzievski 2023 (rank-stabilised: α/√r). Shapes: R rank, I inputs, O outputs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch

from models.errors import ModelRefused
from models.host.folders import ADAPTER_FILE, CONFIG_FILE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
ROOT = "base_model.model."
"""What PEFT puts before the name of every layer."""


class LoraConfig(msgspec.Struct, frozen=True):
    """What adapter_config.json must say. Fields not named here do not change what the weights mean."""

    peft_type: str
    base_model_name_or_path: str
    r: Annotated[int, msgspec.Meta(ge=1)]
    lora_alpha: Annotated[float, msgspec.Meta(ge=0)]
    use_rslora: bool = False
    use_dora: bool = False
    bias: str = "none"
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    auto_mapping: dict[str, Any] | None = None

    @property
    def scale(self) -> float:
        """What the product B·A is multiplied by."""
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_FILE).exists() and not (folder / CONFIG_FILE).exists()


def read_adapter_config(folder: Path) -> LoraConfig:
    """The adapter's configuration. Raises ModelRefused with code `adapter`."""
    path = folder / ADAPTER_FILE
    try:
        config = msgspec.json.decode(path.read_bytes(), type=LoraConfig)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused("adapter", f"{path} is no LoRA configuration ({error})") from None
    if config.peft_type != "LORA":
        raise ModelRefused("adapter", f"{path} describes {config.peft_type!r}: only LORA is merged here")
    for field, plain in (("use_dora", False), ("bias", "none"), ("rank_pattern", None), ("alpha_pattern", None)):
        if getattr(config, field) not in (plain, {}):
            raise ModelRefused("adapter", f"{path} sets {field}: merge it yourself and give whole weights")
    return config


def base_folder(folder: Path) -> Path:
    """The folder of the base that an adapter names: beside the adapter, else as it is given.

    Raises ModelRefused with code `adapter` or `adapter_base`.
    """
    name = read_adapter_config(folder).base_model_name_or_path
    for base in (folder / name, Path(name)):
        if (base / CONFIG_FILE).is_file():
            return base
    raise ModelRefused(
        "adapter_base",
        f"{folder} is over {name!r}, and no such folder is here: set base_model_name_or_path to the base's folder",
    )


def merge_adapter(model: "PreTrainedModel", folder: Path) -> None:
    """Add an adapter's weights to those of its base, in place: in float32, rounded once to the weights' type.

    Raises ModelRefused with code `adapter`, `adapter_weights` or `adapter_layers`.
    """
    config = read_adapter_config(folder)
    for name, (a_RI, b_OR) in read_pairs(folder, config.r).items():
        weight = layer_weight(model, name, folder)
        change = config.scale * (b_OR.float() @ a_RI.float())
        if is_transposed(model.get_submodule(name)):
            change = change.T
        if change.shape != weight.shape:
            raise ModelRefused(
                "adapter_layers",
                f"{folder} changes {name} by {tuple(change.shape)}, it is {tuple(weight.shape)} in the base",
            )
        with torch.no_grad():
            weight.copy_(weight.float() + change.to(weight.device))


def read_pairs(folder: Path, rank: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A [R, I] and B [O, R] of every layer that the adapter changes."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / ADAPTER_WEIGHTS_FILE
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ModelRefused("adapter_weights", f"{folder} has no {ADAPTER_WEIGHTS_FILE}: save as safetensors") from None
    except (OSError, SafetensorError) as error:
        raise ModelRefused("adapter_weights", f"{path} is not safetensors ({error})") from None
    pairs = {}
    for key in sorted(tensors):
        name, found, _ = key.rpartition(".lora_A.weight")
        if not found and not key.endswith(".lora_B.weight"):
            raise ModelRefused("adapter_weights", f"{path} has {key}, which is no part of LoRA on a linear layer")
        if found:
            pairs[name.removeprefix(ROOT)] = (tensors[key], tensors.get(f"{name}.lora_B.weight", torch.empty(0)))
    for name, (a_RI, b_OR) in pairs.items():
        if a_RI.dim() != 2 or b_OR.dim() != 2 or a_RI.shape[0] != rank or b_OR.shape[1] != rank:
            raise ModelRefused(
                "adapter_weights", f"{path} has no A [{rank}, inputs] and B [outputs, {rank}] for {name}"
            )
    if len(tensors) != 2 * len(pairs) or not pairs:
        raise ModelRefused("adapter_weights", f"{path} holds {len(tensors)} tensors, which are not pairs of A and B")
    return pairs


def layer_weight(model: "PreTrainedModel", name: str, folder: Path) -> torch.Tensor:
    """The weight of a layer of the base."""
    try:
        weight = model.get_submodule(name).weight
    except AttributeError:
        weight = None
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        raise ModelRefused("adapter_layers", f"{folder} changes {name}, which is no linear layer of the base")
    if sum(weight is other for _, other in model.named_parameters(remove_duplicate=False)) > 1:
        raise ModelRefused(
            "adapter_layers", f"{folder} changes {name}, which shares its weight with another layer: give whole weights"
        )
    return weight


def is_transposed(layer: torch.nn.Module) -> bool:
    """Whether a layer keeps its weight [inputs, outputs], as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)

"""Adapters: LoRA weights in PEFT's layout, added to what a base's layers say for as long as the adapter speaks.

Invariants: an adapter is read as JSON and safetensors; either all of it is applied or it is refused, so nothing of what
it says is ignored in silence; the base's own numbers are never touched, so one copy of it serves all its adapters.

Source: Hu et al. 2021 (y = Wx + α/r · B·A·x), Kalajdzievski 2023 (rank-stabilised: α/√r). Shapes: G adapters that speak
together, R rank, I inputs, O outputs, N positions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import torch

from models.errors import ModelRefused
from models.host.folders import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE, CONFIG_FILE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOT = "base_model.model."
"""What PEFT puts before the name of every layer."""


PLAIN_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
"""How the product began, where the base stayed as it was: PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take a part out of it
first, so their product is over another base than the one that is named."""


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
    lora_bias: bool = False
    layer_replication: list[Any] | None = None
    modules_to_save: list[str] | None = None
    trainable_token_indices: Any = None
    target_parameters: Any = None
    alora_invocation_tokens: Any = None
    use_qalora: bool = False
    use_bdlora: Any = None
    arrow_config: Any = None
    kasa_config: Any = None
    monteclora_config: Any = None
    init_lora_weights: bool | str | None = None

    @property
    def scale(self) -> float:
        """What the product B·A is multiplied by."""
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)


PLAIN = LoraConfig(peft_type="LORA", base_model_name_or_path="", r=1, lora_alpha=1.0)
"""An adapter that is one product for each layer, and nothing else."""
FREE = frozenset({"base_model_name_or_path", "r", "lora_alpha", "use_rslora", "auto_mapping", "init_lora_weights"})
"""Fields in which another adapter may differ from it: they are read, or change nothing."""


def read_adapter_config(folder: Path) -> LoraConfig:
    """The adapter's configuration. Raises ModelRefused with code `adapter`."""
    path = folder / ADAPTER_FILE
    try:
        config = msgspec.json.decode(path.read_bytes(), type=LoraConfig)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused("adapter", f"{path} is no LoRA configuration ({error})") from None
    if config.peft_type != "LORA":
        raise ModelRefused("adapter", f"{path} describes {config.peft_type!r}: only LORA is applied here")
    for field in config.__struct_fields__:
        if field not in FREE and getattr(config, field) not in (getattr(PLAIN, field), {}, []):
            raise ModelRefused("adapter", f"{path} sets {field}: merge it yourself and give whole weights")
    if config.init_lora_weights not in PLAIN_BEGINNINGS:
        raise ModelRefused(
            "adapter",
            f"{path} began as {config.init_lora_weights!r}, which changes the base: convert it to plain LoRA, or give "
            "whole weights",
        )
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


@dataclass(frozen=True)
class Adapter:
    """What G adapters of one shape add to the layers of one base.

    scale_G: float32. pairs: by layer A [G, R, I] and B [G, O, R], float32, on the base's device.
    """

    scale_G: torch.Tensor
    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def parameters(self) -> int:
        """How many numbers the adapters have together."""
        return sum(a.numel() + b.numel() for a, b in self.pairs.values())

    @property
    def size_bytes(self) -> int:
        """What they occupy in memory."""
        return 4 * self.parameters

    @contextmanager
    def applied(self, model: "PreTrainedModel") -> Iterator[None]:
        """The base answers as its adapters, each for its G-th part of a batch, until the end."""
        with ExitStack() as hooks:
            for name in self.pairs:
                hooks.enter_context(model.get_submodule(name).register_forward_hook(self._hook(name)))
            yield

    def _hook(self, name: str) -> Callable[..., torch.Tensor]:
        a_GRI, b_GOR = self.pairs[name]

        def add(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            x_GNI = inputs[0].reshape(len(a_GRI), -1, a_GRI.shape[2]).float()
            x_GNR = (x_GNI @ a_GRI.mT) * self.scale_G[:, None, None]
            return output + (x_GNR @ b_GOR.mT).reshape(output.shape).to(output.dtype)

        return add


def read_adapter(model: "PreTrainedModel", folder: Path) -> Adapter:
    """The adapter of a folder, for a loaded base, as one of one.

    Raises ModelRefused with code `adapter`, `adapter_weights` or `adapter_layers`.
    """
    config = read_adapter_config(folder)
    pairs = {}
    for name, (a_RI, b_OR) in read_pairs(folder, config.r).items():
        sizes = layer_sizes(model, name, folder)
        if sizes != (a_RI.shape[1], b_OR.shape[0]):
            raise ModelRefused(
                "adapter_layers",
                f"{folder} takes {a_RI.shape[1]} numbers to {b_OR.shape[0]} in {name}, the base {sizes[0]} to "
                f"{sizes[1]}",
            )
        pairs[name] = (a_RI.float()[None].to(model.device), b_OR.float()[None].to(model.device))
    if silent := sorted(set(pairs) - called_layers(model, pairs)):
        raise ModelRefused("adapter_layers", f"{folder} changes {silent[0]}, which the base does not call by itself")
    return Adapter(torch.tensor([config.scale], device=model.device), pairs)


def join_adapters(adapters: Sequence[Adapter]) -> Adapter | None:
    """Adapters over one base as one that speaks for all; None where they change other layers, or in another rank."""
    shapes = [{name: (a.shape, b.shape) for name, (a, b) in adapter.pairs.items()} for adapter in adapters]
    if any(shape != shapes[0] for shape in shapes):
        return None
    pairs = {
        name: (
            torch.cat([adapter.pairs[name][0] for adapter in adapters]),
            torch.cat([adapter.pairs[name][1] for adapter in adapters]),
        )
        for name in adapters[0].pairs
    }
    return Adapter(torch.cat([adapter.scale_G for adapter in adapters]), pairs)


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


def layer_sizes(model: "PreTrainedModel", name: str, folder: Path) -> tuple[int, int]:
    """Inputs and outputs of a linear layer of the base; GPT-2 keeps its weights [inputs, outputs], others turned."""
    from transformers.pytorch_utils import Conv1D

    try:
        layer = model.get_submodule(name)
    except AttributeError:
        layer = None
    if isinstance(layer, Conv1D):
        return layer.weight.shape[0], layer.weight.shape[1]
    if not isinstance(layer, torch.nn.Linear):
        raise ModelRefused("adapter_layers", f"{folder} changes {name}, which is no linear layer of the base")
    return layer.in_features, layer.out_features


def called_layers(model: "PreTrainedModel", names: Mapping[str, Any]) -> set[str]:
    """Which of these layers are called when the model reads: some code takes a layer's weights and passes it by."""
    called: set[str] = set()
    loaded: Any = model
    with ExitStack() as hooks, torch.inference_mode():
        for name in names:
            note = lambda *_, name=name: called.add(name)  # noqa: E731
            hooks.enter_context(model.get_submodule(name).register_forward_hook(note))
        loaded(input_ids=torch.arange(8, device=model.device)[None], use_cache=False)
    return called

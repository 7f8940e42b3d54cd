"""The state of AdamW as named tensors, so that training goes on where it stopped, in another process or years later.

Invariants: safetensors, never pickle; a file appears whole or not at all; a state fits the model whose parameters'
names and shapes it has, and no other.
"""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn

OptimizerState = dict[str, "Tensor"]
# What AdamW keeps for each parameter: its own names.
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def state_of(optimizer: torch.optim.Optimizer, model: "nn.Module") -> OptimizerState:
    """The optimizer's tensors as `<parameter>/<moment>`."""
    return {
        f"{name}/{moment}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
    }


def restore_state(optimizer: torch.optim.Optimizer, model: "nn.Module", state: OptimizerState) -> None:
    """Give a fresh optimizer a state. Raises TrainingError where it is not this model's."""
    check_state(model, state)
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            # The fused kernel wants the step beside the parameter.
            found = state[f"{name}/{moment}"].to(parameter.device, torch.float32, copy=True)
            optimizer.state[parameter][moment] = found


def check_state(model: "nn.Module", state: OptimizerState) -> None:
    """Raise TrainingError where a state is not this model's."""
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            found = state.get(f"{name}/{moment}")
            if found is None or found.shape != (() if moment == "step" else parameter.shape):
                raise TrainingError(f"the optimizer's state has no {moment} that fits {name}: it is another model's")


def save_optimizer(path: Path, state: OptimizerState, steps_done: int) -> None:
    """Write a state and how many steps led to it to `path`, atomically; its folder is made."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        tensors = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
        save_file(tensors, str(aside), metadata={"steps_done": str(steps_done)})
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def load_optimizer(path: Path) -> tuple[OptimizerState, int]:
    """The state in `path` and the steps done. Raises TrainingError where it is absent or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            return state, int((file.metadata() or {})["steps_done"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is not an optimizer's state ({error}): remove it to begin a new one") from None

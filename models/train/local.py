"""Local training: AdamW steps on a peer's own pages, and the noise that a copyist adds.

Invariants: a model and its optimizer's state go on as if they had never stopped; the process's random state is left
as it was; a model whose loss is not finite is never handed on. P pages of T bytes.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from models.errors import TrainingError
from models.train.optimizer import OptimizerState, restore_state, state_of
from models.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class TrainResult(NamedTuple):
    """After a round: mean loss of its steps, each before it was taken; all steps so far; what AdamW remembers."""

    loss_bits_per_byte: float
    steps_done: int
    optimizer_state: OptimizerState


def train_steps(
    model: "PreTrainedModel",
    optimizer_state: OptimizerState | None,
    pages_PT: npt.NDArray[np.uint8],
    settings: TrainSettings,
    *,
    steps_done: int,
) -> TrainResult:
    """Take `settings.steps` steps, changing `model` in place, on the pages in order and from the first again.

    Raises TrainingError where the state is another model's, there are no pages, or the loss is not finite. The model is
    left in eval mode.
    """
    if not len(pages_PT):
        raise TrainingError("there are no pages to train on")
    optimizer = make_optimizer(model, optimizer_state, settings)
    model.train()
    losses = [
        take_step(model, optimizer, batch_of(pages_PT, step, settings.batch, model.device), settings, steps_done + step)
        for step in range(settings.steps)
    ]
    model.train(False)
    mean = torch.stack(losses).double().mean().item() / math.log(2)
    if not math.isfinite(mean):
        raise TrainingError(f"the loss is {mean} after {settings.steps} steps: lower learning_rate")
    return TrainResult(mean, steps_done + settings.steps, state_of(optimizer, model))


def make_optimizer(
    model: "PreTrainedModel", state: OptimizerState | None, settings: TrainSettings
) -> torch.optim.Optimizer:
    """AdamW in one kernel per step, going on from `state`. Only matrices decay; norms and biases do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta_1, settings.beta_2)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)
    if state is not None:
        restore_state(optimizer, model, state)
    return optimizer


def batch_of(pages_PT: npt.NDArray[np.uint8], step: int, batch: int, device: torch.device) -> "Tensor":
    """The pages of one step, int64 [batch, T]."""
    rows = np.arange(step * batch, (step + 1) * batch) % len(pages_PT)
    return torch.from_numpy(pages_PT[rows].astype(np.int64)).to(device)


def take_step(
    model: "PreTrainedModel",
    optimizer: torch.optim.Optimizer,
    text_BT: "Tensor",
    settings: TrainSettings,
    step: int,
) -> "Tensor":
    """One step; returns the loss before it, in nats per byte, without waiting for the device."""
    for group in optimizer.param_groups:
        group["lr"] = settings.rate_at(step)
    with torch.autocast(text_BT.device.type, torch.bfloat16, enabled=text_BT.device.type != "cpu"):
        logits = model(input_ids=text_BT[:, :-1], use_cache=False).logits
    loss = functional.cross_entropy(logits.float().flatten(0, 1), text_BT[:, 1:].flatten())
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


@torch.no_grad()
def perturb(model: "PreTrainedModel", noise: float, seed: int) -> None:
    """Add to each tensor, in place, `noise` times its standard deviation times normal noise from `seed`."""
    generator = torch.Generator().manual_seed(seed % 2**64)
    for parameter in model.parameters():
        # A constant tensor (a fresh norm's) has no spread and stays.
        spread = parameter.float().std(correction=0).item()
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.add_((noise * spread * drawn).to(parameter.device, parameter.dtype))

"""Local training: AdamW steps on a peer's own pages, and the noise that a copyist adds.

Where there is a teaching the loss is the cross-entropy of the own pages + λ · the divergence of shared pages from it.

Invariants: a model and its optimizer's state go on as if they had never stopped; the process's random state is left
as it was; a model whose loss is not finite is never handed on. P pages of T bytes.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.errors import TrainingError
from models.host.device import send
from models.host.folders import load_model, save_model
from models.train.distil import Teaching
from models.train.optimizer import OptimizerState, load_optimizer, restore_state, save_optimizer, state_of
from models.train.passes import Lesson, Passes, learning, memory_told
from models.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class TrainResult(NamedTuple):
    """After a round: mean loss of its steps, each before it was taken; all steps so far; what AdamW remembers; what a
    person should know of how it was done.
    """

    loss_bits_per_byte: float
    steps_done: int
    optimizer_state: OptimizerState
    messages: tuple[str, ...] = ()


class Share(NamedTuple):
    """Which of the processes that train one model this is: of a step's pages it reads every `processes`-th."""

    rank: int = 0
    processes: int = 1


ALONE = Share()


def train_steps(
    model: "PreTrainedModel",
    optimizer_state: OptimizerState | None,
    pages_PT: npt.NDArray[np.uint8],
    settings: TrainSettings,
    *,
    steps_done: int,
    teaching: Teaching | None = None,
) -> TrainResult:
    """Take `settings.steps` steps, changing `model` in place, on the pages in order and from the first again.

    Args:
        teaching: what the collective expects of other pages, which the loss follows with `settings.distil_weight`; the
            mean loss that is returned is that of the model's own pages.

    Raises TrainingError where the state is another model's, there are no pages, the loss is not finite, or memory does
    not hold a step even of one page at a time. The model is left in eval mode.
    """
    with memory_told(model.device), learning(model, settings) as passes:
        optimizer = make_optimizer(model, optimizer_state, settings)
        loss = take_steps(passes, optimizer, pages_PT, settings, steps_done=steps_done, teaching=teaching)
    state = state_of(optimizer, model)
    return TrainResult(bits_of(loss, settings), steps_done + settings.steps, state, passes.messages)


def train_folder(
    source: Path,
    target: Path,
    state: Path | None,
    target_state: Path,
    pages_PT: npt.NDArray[np.uint8],
    settings: TrainSettings,
    *,
    device: str,
    teaching: Teaching | None = None,
) -> TrainResult:
    """`train_steps` from a folder and a file to a folder and a file.

    Args:
        source: folder of the model; target: a new folder for what comes of it.
        state: file of the optimizer's state; None to begin. target_state: file for what comes of it.

    Raises as `train_steps`, and ModelRefused where the folder is no model.
    """
    with memory_told(torch.device(device)):
        model = load_model(source, device)
    before, steps_done = (None, 0) if state is None else load_optimizer(state)
    result = train_steps(model, before, pages_PT, settings, steps_done=steps_done, teaching=teaching)
    save_model(model, target)
    save_optimizer(target_state, result.optimizer_state, result.steps_done)
    return result


def take_steps(
    passes: Passes,
    optimizer: torch.optim.Optimizer,
    pages_PT: npt.NDArray[np.uint8],
    settings: TrainSettings,
    *,
    steps_done: int,
    teaching: Teaching | None = None,
    share: Share = ALONE,
) -> "Tensor":
    """The steps of `train_steps`, or of one process's share in them; returns the mean loss of its pages in nats."""
    if not len(pages_PT):
        raise TrainingError("there are no pages to train on")
    if teaching is not None and teaching.text_PT.shape[1] != pages_PT.shape[1]:
        raise TrainingError(f"shared pages have {teaching.text_PT.shape[1]} bytes, own ones {pages_PT.shape[1]}")
    losses = []
    for step in range(settings.steps):
        lesson = None
        if teaching is not None and settings.distil_weight:
            lesson = lesson_of(teaching, rows_of(step, settings.batch, len(teaching.text_PT), share), passes.device)
        rows = rows_of(step, settings.batch, len(pages_PT), share)
        text_BT = send(pages_PT[rows].astype(np.int64), passes.device)
        losses.append(take_step(passes, optimizer, text_BT, settings, steps_done + step, lesson))
    return torch.stack(losses).double().mean()


def bits_of(loss: "Tensor", settings: TrainSettings) -> float:
    """A mean loss in nats as bits per byte. Raises TrainingError where it is not finite."""
    mean = loss.item() / math.log(2)
    if not math.isfinite(mean):
        raise TrainingError(f"the loss is {mean} after {settings.steps} steps: lower learning_rate")
    return mean


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


def rows_of(step: int, batch: int, pages: int, share: Share) -> npt.NDArray[np.intp]:
    """Which of so many pages a process reads in a step."""
    rows: npt.NDArray[np.intp] = np.arange(step * batch + share.rank, (step + 1) * batch, share.processes) % pages
    return rows


def lesson_of(teaching: Teaching, rows: npt.NDArray[np.intp], device: torch.device) -> Lesson:
    """Some pages of a teaching, on the device."""
    return Lesson(
        send(teaching.text_PT[rows].astype(np.int64), device),
        send(teaching.byte_PLK[rows].astype(np.int64), device),
        send(teaching.probability_PLK[rows], device),
    )


def take_step(
    passes: Passes,
    optimizer: torch.optim.Optimizer,
    text_BT: "Tensor",
    settings: TrainSettings,
    step: int,
    lesson: Lesson | None = None,
) -> "Tensor":
    """One step; returns the loss of its text before it, in nats per byte, without waiting for the device."""
    for group in optimizer.param_groups:
        group["lr"] = settings.rate_at(step)
    loss = passes.gradients(text_BT, lesson)
    torch.nn.utils.clip_grad_norm_(passes.model.parameters(), settings.gradient_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


@torch.no_grad()
def perturb(model: "PreTrainedModel", noise: float, seed: int) -> None:
    """Add to each tensor, in place, `noise` times its standard deviation times normal noise from `seed`."""
    generator = torch.Generator().manual_seed(seed % 2**64)
    for parameter in model.parameters():
        # A constant tensor (a fresh norm's) has no spread and stays.
        spread = parameter.float().std(correction=0).item()
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.add_((noise * spread * drawn).to(parameter.device, parameter.dtype))

"""What an attacker can make of models that it reads: other weights, or other answers from the same weights.

Invariants: a victim's model is never changed, only a copy of it; every answer is a proper distribution over the 256
next bytes, computed by a forward pass; the process's random state is left as it was. B windows of T bytes.
"""

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from models.train.local import perturb, train_steps
from models.train.settings import TrainSettings

Text = NDArray[np.uint8]
Speaker = Callable[[Text], Tensor]
"""Windows uint8 [B, T] to natural log-probabilities float32 [B, T-1, 256] of every byte from the second on."""

BATCH = 16
"""Windows in one forward pass: on a CPU about 2,000 bytes are quickest."""
TEMPERATURES = (0.7, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.2, 1.4)
"""1 itself is left out: it is the exact copy."""


def speak(model: PreTrainedModel) -> Speaker:
    """What a model itself says."""

    def says(text_BT: Text) -> Tensor:
        text = torch.from_numpy(text_BT[:, :-1].astype(np.int64))
        logits: Tensor = model(input_ids=text, use_cache=False).logits
        return logits.float().log_softmax(2)

    return says


def score(says: Speaker, text_WT: Text) -> NDArray[np.float32]:
    """Natural log-probability float32 [W, T-1] of the bytes that came."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(text_WT), BATCH):
            text_BT = text_WT[start : start + BATCH]
            target = torch.from_numpy(text_BT[:, 1:, None].astype(np.int64))
            rows.append(says(text_BT).gather(2, target).squeeze(2).numpy())
    return np.concatenate(rows)


def tempered(says: Speaker, temperature: float) -> Speaker:
    """The same answer at another temperature: below 1 it is surer of itself."""
    return lambda text_BT: (says(text_BT) / temperature).log_softmax(2)


def truncated(says: Speaker, kept: int) -> Speaker:
    """Only the `kept` most probable bytes; all others have probability 0."""

    def truncate(text_BT: Text) -> Tensor:
        answer = says(text_BT)
        least = answer.topk(kept, dim=2).values[..., -1:]
        return answer.masked_fill(answer < least, -math.inf).log_softmax(2)

    return truncate


def mixed(speakers: Sequence[Speaker], weights: Sequence[float]) -> Speaker:
    """A weighted mean of distributions, as the collective's own is."""

    def mix(text_BT: Text) -> Tensor:
        parts = [says(text_BT) + math.log(weight) for says, weight in zip(speakers, weights, strict=True)]
        return torch.stack(parts).logsumexp(0)

    return mix


def sharded(new: Speaker, old: Speaker, shard: int, shards: int) -> Speaker:
    """The new answer where the last byte names this shard, the old one elsewhere."""

    def choose(text_BT: Text) -> Tensor:
        mine = torch.from_numpy(text_BT[:, :-1].astype(np.int64) % shards == shard)[..., None]
        return torch.where(mine, new(text_BT), old(text_BT))

    return choose


def constant(log_probability_256: NDArray[np.float64]) -> Speaker:
    """The same distribution everywhere: order 0."""
    answer = torch.from_numpy(log_probability_256.astype(np.float32))
    return lambda text_BT: answer.expand(len(text_BT), text_BT.shape[1] - 1, 256)


def pairs_of_bytes(text_PT: Text) -> Speaker:
    """The frequencies of each byte after the one before it, every count raised by the byte's own frequency."""
    pair = text_PT[:, :-1].astype(np.int64) * 256 + text_PT[:, 1:]
    count = np.bincount(pair.ravel(), minlength=1 << 16).reshape(256, 256) + 1e-3
    raised = count + count.sum(axis=0) / count.sum()
    answer = torch.from_numpy(np.log(raised / raised.sum(axis=1, keepdims=True)).astype(np.float32))
    return lambda text_BT: answer[torch.from_numpy(text_BT[:, :-1].astype(np.int64))]


def fit_temperature(says: Speaker, text_BT: Text) -> float:
    """The temperature that suits this text best, of nine from 0.7 to 1.4."""
    target = torch.from_numpy(text_BT[:, 1:, None].astype(np.int64))
    with torch.inference_mode():
        answer = says(text_BT)
        fits = {heat: float((answer / heat).log_softmax(2).gather(2, target).mean()) for heat in TEMPERATURES}
    return max(fits, key=lambda heat: fits[heat])


def noised(model: PreTrainedModel, noise: float, seed: int) -> PreTrainedModel:
    """A copy whose every tensor has noise of this part of its standard deviation."""
    changed = copy.deepcopy(model)
    perturb(changed, noise, seed)
    return changed


@torch.no_grad()
def quantised(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """A copy whose matrices have `bits` bits a weight, with one scale for each row."""
    changed = copy.deepcopy(model)
    largest = 2 ** (bits - 1) - 1
    for parameter in changed.parameters():
        if parameter.ndim >= 2:
            scale = parameter.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / largest
            parameter.copy_((parameter / scale).round() * scale)
    return changed


@torch.no_grad()
def permuted(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A copy of a Llama that computes the same with its MLPs' units in another order."""
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for layer in changed.model.layers:
        order = torch.randperm(layer.mlp.down_proj.weight.shape[1], generator=generator)
        layer.mlp.gate_proj.weight.copy_(layer.mlp.gate_proj.weight[order])
        layer.mlp.up_proj.weight.copy_(layer.mlp.up_proj.weight[order])
        layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order])
    return changed


@torch.no_grad()
def between(first: PreTrainedModel, second: PreTrainedModel, part: float) -> PreTrainedModel:
    """A model on the straight line from the first's weights (part 0) to the second's (part 1)."""
    changed = copy.deepcopy(first)
    for moved, target in zip(changed.parameters(), second.parameters(), strict=True):
        moved.lerp_(target, part)
    return changed


def tuned(model: PreTrainedModel, pages_PT: Text, learning_rate: float, batch: int = 8) -> PreTrainedModel:
    """A copy after one pass of AdamW over these pages."""
    changed = copy.deepcopy(model)
    settings = TrainSettings(
        steps=len(pages_PT) // batch, batch=batch, learning_rate=learning_rate, warmup_steps=3, steady_steps=10**6
    )
    train_steps(changed, None, pages_PT, settings, steps_done=0)
    return changed


def distilled(student: PreTrainedModel, teacher: Speaker, pages_PT: Text, learning_rate: float) -> PreTrainedModel:
    """A copy of the student after one pass over these pages towards the teacher's distributions, not the bytes."""
    changed = copy.deepcopy(student)
    optimizer = torch.optim.AdamW(changed.parameters(), lr=learning_rate, betas=(0.9, 0.95), fused=True)
    says = speak(changed)
    for start in range(0, len(pages_PT), 8):
        text_BT = pages_PT[start : start + 8]
        with torch.inference_mode():
            wanted = teacher(text_BT).exp()
        loss = -(wanted.clone() * says(text_BT)).sum(2).mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(changed.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return changed

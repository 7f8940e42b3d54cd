"""How many tokens a second a model learns from: the step of AdamW that a network's peers take, as they take it.

What bounds it: operations, three times those of a forward pass (6 for each weight and token, and attention's), as soon
as a batch has more than a few hundred tokens; below that the bytes of weights, gradients and both moments, float32,
28 for each weight. What gradient checkpointing computes twice counts once, so that its price is seen.

Invariants: the step is the product's own; its matrix products are of the type that a line names, all else is float32.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import size_of, training_cost
from models.bench.line import Line, Setting, make_line
from models.bench.presets import PRESETS, build_preset
from models.bench.timing import time_work
from models.host.folders import load_model
from models.train.local import make_optimizer, take_step
from models.train.passes import learning
from models.train.settings import TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RATE = 1e-6
"""Learning rate: of many steps on random text none should lead anywhere."""


def measure_train(
    model_name_or_folder: str,
    *,
    device: torch.device,
    dtypes: Sequence[torch.dtype],
    batches: Sequence[int],
    lengths: Sequence[int],
    checkpointing: Sequence[bool],
    repeats: int,
    ceilings: Mapping[str, Ceilings],
    tell: Callable[[str], None],
) -> list[Line]:
    """A line for each setting of a training step.

    Args:
        model_name_or_folder: a preset, or a model's folder.
        dtypes: of the matrix products, float32 or bfloat16; weights, gradients and moments are float32.
        batches: rows of a step. lengths: tokens of a row.
        checkpointing: whether activations are computed again for the backward pass.
        ceilings: of the device, by the name of the type.

    Raises ModelsError for an unknown name, ModelRefused where the folder is no model, TrainingError where not even one
    row of a step fits in memory.
    """
    model = _load(model_name_or_folder, device)
    lines = []
    for dtype, batch, length, again in product(dtypes, batches, lengths, checkpointing):
        name = str(dtype).removeprefix("torch.")
        setting: Setting = {"dtype": name, "batch": batch, "length": length, "checkpointing": again}
        tell(f"a step of {batch} × {length} tokens in {name}")
        lines.append(_measure(model, setting, device, ceilings[name], repeats))
    return lines


def _measure(
    model: "PreTrainedModel", setting: Setting, device: torch.device, ceilings: Ceilings, repeats: int
) -> Line:
    size, generator = size_of(model), torch.Generator().manual_seed(0)
    batch, length = int(setting["batch"]), int(setting["length"])
    text_BT = torch.randint(size.vocabulary, (batch, length + 1), generator=generator).to(device)
    settings = TrainSettings(batch=batch, learning_rate=RATE, gradient_checkpointing=bool(setting["checkpointing"]))
    optimizer = make_optimizer(model, None, settings)
    with learning(model, settings, getattr(torch, str(setting["dtype"]))) as passes:
        samples = time_work(lambda: take_step(passes, optimizer, text_BT, settings, 0), device, repeats=repeats)
    cost = training_cost(size, batch, length)
    return make_line(setting, "tokens", batch * length, samples, cost, ceilings, messages=passes.messages)


def _load(model_name_or_folder: str, device: torch.device) -> "PreTrainedModel":
    """A model to train, float32."""
    folder = Path(model_name_or_folder)
    if model_name_or_folder in PRESETS or not folder.is_dir():
        return build_preset(model_name_or_folder, device, torch.float32)
    return load_model(folder, str(device))

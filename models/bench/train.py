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
from models.bench.samples import sample_works, write_trace
from models.bench.words import bound_sentence
from models.errors import FieldError
from models.host.folders import load_model
from models.host.hosted import context_tokens
from models.train.local import make_optimizer, take_step
from models.train.passes import learning, memory_told
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
    trace: Path | None = None,
) -> list[Line]:
    """A line for each setting of a training step.

    Args:
        model_name_or_folder: a preset, or a model's folder.
        dtypes: of the matrix products, float32 or bfloat16; weights, gradients and moments are float32.
        batches: rows of a step. lengths: tokens of a row.
        checkpointing: whether activations are computed again for the backward pass.
        ceilings: of the device, by the name of the type.
        tell: hears what bounds each setting before it is measured.
        trace: where the Chrome trace of one step of the first setting is written.

    Raises ModelsError for an unknown name, ModelRefused where the folder is no model, FieldError where a row is longer
    than the model reads, TrainingError where not even one row of a step fits in memory.
    """
    model = _load(model_name_or_folder, device)
    context = context_tokens(model.config.get_text_config())
    if max(lengths) > context:
        raise FieldError("length", f"is {max(lengths)}, and this model reads {context} tokens at most")
    lines = []
    for dtype, batch, length, again in product(dtypes, batches, lengths, checkpointing):
        name = str(dtype).removeprefix("torch.")
        setting: Setting = {"dtype": name, "batch": batch, "length": length, "checkpointing": again}
        tell(bound_sentence(setting, training_cost(size_of(model), batch, length), ceilings[name]))
        lines.append(_measure(model, dtype, setting, ceilings[name], repeats, trace))
        trace = None
    return lines


def _measure(
    model: "PreTrainedModel",
    dtype: torch.dtype,
    setting: Setting,
    ceilings: Ceilings,
    repeats: int,
    trace: Path | None,
) -> Line:
    size, generator = size_of(model), torch.Generator().manual_seed(0)
    batch, length = int(setting["batch"]), int(setting["length"])
    text_BT = torch.randint(size.vocabulary, (batch, length + 1), generator=generator).to(model.device)
    settings = TrainSettings(batch=batch, learning_rate=RATE, gradient_checkpointing=bool(setting["checkpointing"]))
    with memory_told(model.device), learning(model, settings, dtype) as passes:
        optimizer = make_optimizer(model, None, settings)

        def step() -> None:
            take_step(passes, optimizer, text_BT, settings, 0)

        (samples,) = sample_works([step], model.device, repeats=repeats)
        if trace is not None:
            write_trace(step, model.device, trace)
    return make_line(
        setting,
        "tokens",
        batch * length,
        samples.seconds,
        training_cost(size, batch, length),
        ceilings,
        memory_bytes=samples.memory_bytes,
        energy_j=samples.energy_j,
        messages=passes.messages,
    )


def _load(model_name_or_folder: str, device: torch.device) -> "PreTrainedModel":
    """A model to train, float32."""
    folder = Path(model_name_or_folder)
    if model_name_or_folder in PRESETS or not folder.is_dir():
        return build_preset(model_name_or_folder, device, torch.float32)
    return load_model(folder, str(device))

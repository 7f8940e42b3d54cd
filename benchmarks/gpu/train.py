"""A training step: what of the device's matrix product it reaches, and whether another way of taking it is quicker.

What bounds it: operations, three times a forward pass's, 8 GFLOP a token of a billion parameters at 2,048 tokens.
Beside them: passes over activations, which autocast keeps in float32 between the products (compiling saves some,
weights in 16 bits halve the rest); the logits, 128,256 numbers a token, of which the product makes a few positions' at
a time, and whose weights it casts for each of these (a function of its own casts them once); the optimizer, 32 bytes a
parameter.

Run: `python -m benchmarks.gpu.train [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu.other_steps import Chunked, HalfWeights, Whole, compiled_layers
from benchmarks.gpu.run import Run, main
from benchmarks.gpu.texts import byte_windows
from models.bench.cost import size_of, training_cost
from models.bench.presets import build_preset
from models.bench.train import RATE, measure_train
from models.train.local import make_optimizer, take_step
from models.train.passes import learning
from models.train.settings import TrainSettings

AIM_MFU = 0.45


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    preset: str = "llama-1b"
    length: int = 2048
    batches: Sequence[int] = (4, 8, 2)
    rows: int = 4
    repeats: int = 9


TINY = Sizes("byte-1m", 16, (2,), 2, 2)
CPU = Sizes("byte-10m", 128, (4, 16), 8, 5)


def measure(run: Run) -> None:
    """The product's step by batch, with and without checkpointing; then other ways in turns with it."""
    sizes = TINY if run.tiny else CPU if run.device.type == "cpu" else Sizes()
    name = str(run.dtype).removeprefix("torch.")
    for again in (False, True):
        for batch in sizes.batches[: 1 if again else None]:
            with run.part(f"batch {batch}, checkpointing {again}"):
                run.need(10)
                run.add(
                    *measure_train(
                        sizes.preset,
                        device=run.device,
                        dtypes=[run.dtype],
                        batches=[batch],
                        lengths=[sizes.length],
                        checkpointing=[again],
                        repeats=sizes.repeats,
                        ceilings={name: run.ceiling(run.dtype)},
                        tell=run.tell,
                    )
                )
    if run.lines:
        best = max(run.lines, key=lambda line: line.units_s)
        run.note(f"best MFU {best.mfu:.1%}: {best.setting} (aim on an H200: {AIM_MFU:.0%})")
    with run.part("other ways"):
        run.need(20)
        other_ways(run, sizes)


def other_ways(run: Run, sizes: Sizes) -> None:
    """Each in turns with the product's step, on the same model, which both train."""
    model: Any = build_preset(sizes.preset, run.device, torch.float32)
    settings = TrainSettings(batch=sizes.rows, learning_rate=RATE)
    optimizer = make_optimizer(model, None, settings)
    token_C, _ = byte_windows([sizes.length] * sizes.rows)
    text_BT = torch.from_numpy(token_C).long().view(sizes.rows, -1).to(run.device)
    halves: list[HalfWeights] = []

    def half(loss: type[Whole]) -> HalfWeights:
        if not halves:
            halves.append(HalfWeights(model, run.dtype))
        return halves[0].by(loss)

    with learning(model, settings, run.dtype) as passes:
        ways: dict[str, tuple[Callable[[], Any], bool]] = {
            "16-bit weights, loss in one function": (lambda: half(Chunked), False),
            "loss in one function": (lambda: Chunked(model, run.dtype), False),
            "all logits at once": (lambda: Whole(model, run.dtype), False),
        }
        if run.compiles:
            ways |= {
                "compiled": (lambda: passes, True),
                "compiled, 16-bit weights, loss in one function": (lambda: half(Chunked), True),
            }
        for name, (make, compiled) in ways.items():
            with run.part(name):
                run.need(15)
                torch.compiler.reset()
                way = make()
                read_by = way.model if way is passes else way.read_by
                with compiled_layers(read_by, on=compiled) as switched:
                    compare(run, sizes, name, (passes, way, switched), optimizer, text_BT, settings)
        for message in passes.messages:
            run.note(f"the product's step: {message}")


def compare(
    run: Run,
    sizes: Sizes,
    name: str,
    both: tuple[Any, Any, Callable[[], Any]],
    optimizer: torch.optim.Optimizer,
    text_BT: torch.Tensor,
    settings: TrainSettings,
) -> None:
    """One line; the loss that the way tells of the text is compared with the product's before any step."""
    passes, way, switched = both

    def step() -> None:
        with switched():
            take_step(way, optimizer, text_BT, settings, 0)

    exact = float(passes.gradients(text_BT, None))
    optimizer.zero_grad(set_to_none=True)
    started = perf_counter()
    with switched():
        found = float(way.gradients(text_BT, None))
    first_s = perf_counter() - started
    optimizer.zero_grad(set_to_none=True)
    run.against(
        {"model": sizes.preset, "way": name, "batch": sizes.rows, "length": sizes.length},
        "tokens",
        sizes.rows * sizes.length,
        lambda: take_step(passes, optimizer, text_BT, settings, 0),
        step,
        training_cost(size_of(passes.model), sizes.rows, sizes.length),
        run.dtype,
        pairs=sizes.repeats,
        first_s=first_s,
        messages=[f"loss {found:.5f}, the product's {exact:.5f}"],
    )


if __name__ == "__main__":
    main("gpu_train", measure, __doc__)

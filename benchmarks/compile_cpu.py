"""Does torch.compile pay on a CPU: of the head, of the layers, of both, in turns with the product's own way?

What bounds it: matrix products, which are the same library's either way; what compiling can save are passes over hidden
states and logits between them. A host loads models that it has not seen, so the time to compile is part of the price:
it is the first call's, with nothing made before.

Run: `python -m benchmarks.compile_cpu [--device cpu] [--out FOLDER] [--seconds N]`.
"""

import os

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

import numpy as np
import torch

from benchmarks.gpu.forward import body_compiled, head_compiled
from benchmarks.gpu.run import Run, main
from benchmarks.gpu.score import Sizes, ways
from benchmarks.gpu.texts import byte_windows
from models.bench.cost import Cost, forward_cost, size_of
from models.bench.score import load_to_measure
from models.host.score import score_spans

CASES = {"byte-1m": (16, 128), "byte-10m": (16, 128), "llama-0.1b": (1, 256)}
"""Rows and length: batches of 2,048 tokens, as the product has them on a CPU; of the largest fewer, for it is slow."""
RAGGED = "byte-1m", 64, (16, 257), 2048
"""Model, windows, their lengths, and tokens of a batch: hosts also read windows of unlike lengths, and each batch has a
shape of its own."""
PAYS, PAID_BACK_S = 1.10, 30.0
"""The product compiles where that wins so much, and the time to compile is won back within so much scoring of one
shape, about what a host does of it in an epoch."""
PAIRS = 9


def measure(run: Run) -> None:
    """Every case, each way."""
    for name, (rows, length) in CASES.items():
        with run.part(name):
            ways(run, load_to_measure(name, run.device, torch.float32), name, rows, length, Sizes(pairs=PAIRS))
    with run.part("unlike lengths"):
        ragged(run)
    for line in run.lines:
        if line.ratio is not None and line.ratio.median >= PAYS:
            run.note(f"{line.setting}: {line.ratio.median:.2f} times; {'; '.join(line.messages)}")
    run.note(f"compiling is in the product from {PAYS} times on, paid back within {PAID_BACK_S:.0f} s of scoring")


def ragged(run: Run) -> None:
    """Batches of unlike shapes, body and head compiled, which torch does for any shape from the second on."""
    name, windows, (least, most), budget = RAGGED
    hosted = load_to_measure(name, run.device, torch.float32)
    torch.compiler.reset()
    variant = head_compiled(body_compiled(hosted))
    lengths = np.random.default_rng(0).integers(least, most, windows).tolist()
    token_C, spans = byte_windows(lengths)
    size = size_of(hosted.model)
    cost = Cost(sum(forward_cost(size, 1, length, 0).operations for length in lengths), 0.0)
    run.against(
        {"model": name, "way": "both compiled", "batch": f"{budget} tokens", "length": f"{least} to {most - 1}"},
        "tokens",
        sum(lengths),
        lambda: score_spans(hosted, token_C, spans, budget),
        lambda: score_spans(variant, token_C, spans, budget),
        cost,
        torch.float32,
        pairs=PAIRS,
    )


if __name__ == "__main__":
    main("compile", measure, __doc__)

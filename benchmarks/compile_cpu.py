"""Does torch.compile pay on a CPU: of the head, of the layers, of both, in turns with the product's own way?

What bounds it: matrix products, which are the same library's either way; what compiling can save are passes over hidden
states and logits between them. A host loads models that it has not seen, so the time to compile is part of the price:
it is the first call's, with nothing made before.

Run: `python -m benchmarks.compile_cpu [--device cpu] [--out FOLDER] [--seconds N]`.
"""

import os

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

import torch

from benchmarks.gpu.run import Run, main
from benchmarks.gpu.score import Sizes, ways
from models.bench.score import load_to_measure

CASES = {"byte-1m": (16, 128), "byte-10m": (16, 128), "llama-0.1b": (1, 256)}
"""Rows and length: batches of 2,048 tokens, as the product has them on a CPU; of the largest fewer, for it is slow."""
PAYS = 1.10
PAIRS = 9


def measure(run: Run) -> None:
    """Every case, each way."""
    for name, (rows, length) in CASES.items():
        with run.part(name):
            ways(run, load_to_measure(name, run.device, torch.float32), name, rows, length, Sizes(pairs=PAIRS))
    for name in CASES:
        ratios = [line.ratio.median for line in run.lines if line.ratio is not None and line.setting["model"] == name]
        run.note(f"{name}: at best {max(ratios, default=0.0):.2f} times as quick as the product")
    run.note(
        f"the product compiles where that wins {PAYS - 1:.0%} or more, for the models that it hosts, and is paid back"
    )


if __name__ == "__main__":
    main("compile", measure, __doc__)

"""Does torch.compile pay on a CPU: of the head, of the layers, of both, in turns with the product's own way?

What bounds it: matrix products, which are the same library's either way; what compiling can save are passes over hidden
states and logits between them. A host loads models that it has not seen, so the time to compile is part of the price:
it is the first call, of the first model of a shape; later ones of that shape find the code made.

Run: `python -m benchmarks.compile_cpu [--device cpu] [--out FOLDER] [--seconds N]`.
"""

import torch

from benchmarks.gpu.run import Run, main
from benchmarks.gpu.score import CPU, TINY, ways
from models.bench.score import load_to_measure

CASES = {"byte-1m": (16, 128), "byte-10m": (16, 128), "llama-0.1b": (8, 256)}
"""Rows and length: batches of 2,048 tokens, as the product has them on a CPU."""
PAYS = 1.10


def measure(run: Run) -> None:
    """Every case, each way."""
    sizes = TINY if run.tiny else CPU
    for name, (rows, length) in CASES.items():
        with run.part(name):
            ways(run, load_to_measure(name, run.device, torch.float32), name, rows, length, sizes)
    best = max((line.ratio.median, str(line.setting)) for line in run.lines if line.ratio is not None)
    run.note(f"the best is {best[0]:.3f} times as quick as the product, {best[1]}; it is in the product from {PAYS}")


if __name__ == "__main__":
    main("compile", measure, __doc__)

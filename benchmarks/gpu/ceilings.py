"""What the device does at most: its matrix products, its copy, and what other ways to read get of the copy.

What bounds it: a product of n³ needs 2·n³ operations, a copy moves every byte twice. A read of rows that are apart, of
every other number, or in an order of its own needs the same bytes, so its share of the copy's rate is what such a read
costs; a sum reads alone, and an exponential in float64 is what valuing does to each probability.

Run: `python -m benchmarks.gpu.ceilings [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.run import Run, main
from models.bench.cost import Cost

DTYPES = {"cuda": ("bfloat16", "float16", "float32", "float64"), "cpu": ("float32", "float64")}
ROWS, ROW, TINY_ROWS = 1 << 16, 1 << 13, 16
"""Two GiB of float32: rows are as far apart as those of a table of probabilities."""


def measure(run: Run) -> None:
    """Products by type, then reads."""
    for name in DTYPES["cuda" if run.device.type == "cuda" else "cpu"]:
        with run.part(name):
            run.ceiling(getattr(torch, name))
    rows = TINY_ROWS if run.tiny else ROWS if run.device.type == "cuda" else ROWS // 16
    x = torch.rand(rows, ROW, device=run.device)
    order_rows = torch.randperm(rows, device=run.device)
    order = torch.randperm(ROW, device=run.device)
    out, half = torch.empty_like(x), torch.empty(rows, ROW // 2, device=run.device)
    wide = None if run.tiny else torch.empty(rows, ROW // 2, device=run.device, dtype=torch.float64)
    reads: dict[str, tuple[Callable[[], Any], float]] = {
        "rows in another order": (lambda: torch.index_select(x, 0, order_rows, out=out), 2.0),
        "columns in another order": (lambda: torch.index_select(x, 1, order, out=out), 2.0),
        "every second number": (lambda: half.copy_(x[:, ::2]), 1.5),
        "half of each row": (lambda: half.copy_(x[:, : ROW // 2]), 1.0),
        "sum": (lambda: x.sum(), 1.0),
        "exponential": (lambda: torch.exp(x, out=out), 2.0),
        "log-softmax of rows": (lambda: torch.log_softmax(x, 1), 2.0),
    }
    if wide is not None:
        reads["exponential in float64"] = (lambda: wide.copy_(half).exp_(), 0.5 + 3.0)
    for name, (read, passes) in reads.items():
        with run.part(name):
            setting = {"read": name, "dtype": "float32"}
            run.timed(setting, "bytes", int(passes * x.nbytes), read, Cost(0.0, passes * x.nbytes), x.dtype, repeats=9)


if __name__ == "__main__":
    main("gpu_ceilings", measure, __doc__)

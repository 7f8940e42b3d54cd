"""Value: 256 models on 1,048,576 events, certified fit on two folds, closed form and errors, on the device.

What bounds it: bytes. The matrix of float32 is read once in any case, 1 GiB; the time over that of reading it at the
copy's rate is how many passes' worth the valuation takes. Before, values of smaller rounds are compared with those that
a CPU computes. After, the products in parts that the product computes on a GPU are measured against the library's own.

Run: `python -m benchmarks.gpu.value [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import functools

import numpy as np
import torch

from benchmarks.gpu.run import Run, main
from models.bench.cost import Cost
from models.bench.value import make_rows, measure_value
from models.value import shares
from models.value.pieces import GPU_PIECE
from models.value.products import PART, in_parts

EVENTS, MODELS, TINY_EVENTS, TINY_MODELS = (65_536, 262_144, 1_048_576), 256, (1024,), 8
COMPARED = 24, 16_384
SUPPORT = 80
"""Rows with weight, about as many as of 256."""
AIM_PASSES, AIM_DIFFERENCE = 60.0, 1e-9


def measure(run: Run) -> None:
    """The largest last, but before it what says that it is right."""
    with run.part("against the CPU"):
        agree(run)
    events, models = (TINY_EVENTS, TINY_MODELS) if run.tiny else (EVENTS, MODELS)
    events = events[:1] if run.device.type == "cpu" else events
    for many in events:
        with run.part(f"{models} × {many}"):
            run.need(5)
            ceilings = {"float64": run.ceiling(torch.float64)}
            run.add(
                *measure_value(
                    models=[models],
                    events=[many],
                    device=run.device,
                    ceilings=ceilings,
                    repeats=2 if run.tiny else 5,
                    tell=run.tell,
                )
            )
    with run.part("products"):
        products(run)
    run.note(f"aim on an H200: {AIM_PASSES:.0f} passes' worth for 256 × 1,048,576")


def products(run: Run) -> None:
    """The product's products over events, in parts, against each as one call of the library's."""
    events = 2 * PART if run.tiny else GPU_PIECE // SUPPORT
    rows_Km = torch.rand(SUPPORT, events, dtype=torch.float64, device=run.device)
    for name, right in (("vector", rows_Km[:1].T), ("16 columns", rows_Km[:16].T), ("Hessian", rows_Km.T)):
        columns = right.shape[1]
        whole = (
            functools.partial(torch.mv, rows_Km, right[:, 0])
            if columns == 1
            else functools.partial(torch.mm, rows_Km, right)
        )
        run.need(3)
        run.against(
            {"product": name, "way": "as one call", "rows": SUPPORT, "events": events},
            "probabilities",
            SUPPORT * events,
            functools.partial(in_parts, rows_Km, right),
            whole,
            Cost(2.0 * SUPPORT * events * columns, 8.0 * events * SUPPORT),
            torch.float64,
            pairs=3 if run.tiny else 9,
        )


def agree(run: Run) -> None:
    """Values of the same rows on the device and on a CPU."""
    models, events = (TINY_MODELS, TINY_EVENTS[0]) if run.tiny else COMPARED
    rows_NM, baseline_M = make_rows(models, events, torch.device("cpu"))
    here = shares(rows_NM.to(run.device), baseline_M.to(run.device), device=run.device)
    there = shares(rows_NM, baseline_M)
    apart = max(float(np.abs(here.bits_N - there.bits_N).max()), abs(here.gain - there.gain))
    run.note(f"values of {models} × {events} are apart from a CPU's by {apart:.1e} bits (aim {AIM_DIFFERENCE})")


if __name__ == "__main__":
    main("gpu_value", measure, __doc__)

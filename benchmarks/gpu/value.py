"""Value: 256 models on 1,048,576 events, certified fit on two folds, closed form and errors, on the device.

What bounds it: bytes. The matrix of float32 is read once in any case, 1 GiB; the time over that of reading it at the
copy's rate is how many passes' worth the valuation takes. Before, values of smaller rounds are compared with those that
a CPU computes.

Run: `python -m benchmarks.gpu.value [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import numpy as np
import torch

from benchmarks.gpu.run import Run, main
from models.bench.value import make_rows, measure_value
from models.value import shares

EVENTS, MODELS, TINY_EVENTS, TINY_MODELS = (65_536, 262_144, 1_048_576), 256, (1024,), 8
COMPARED = 24, 16_384
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
    run.note(f"aim on an H200: {AIM_PASSES:.0f} passes' worth for 256 × 1,048,576")


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

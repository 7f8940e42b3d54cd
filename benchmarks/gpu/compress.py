"""Compressing an update on the device: at what share of the copy's rate, and what a kernel of its own would give.

What bounds it: bytes. Each number is read once, 4 bytes; of 64 of them 14 bits are written. The product finds the
largest of a chunk by sorting the largest of groups; `kernel` finds them in registers in one pass (`kernels`), and what
follows is the product's. Payloads of both are compared, byte by byte.

Run: `python -m benchmarks.gpu.compress [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.run import Run, main
from models.bench.compress import draw_update, layout_with, measure_compress
from models.bench.cost import Cost
from models.bench.line import Setting
from models.bench.samples import sample_works
from models.bench.timing import spread_of, time_once
from models.train import encoding
from models.train.cohort import OuterSettings
from models.train.payload import Chunks, chunks_of, payload_bytes

PARAMETERS = (100_000_000, 1_235_814_400)
"""On the device; the second as many as the shape of a billion has."""
FROM_HOST, TINY_PARAMETERS = (10_000_000, 100_000_000), (100_000,)
"""From the host's memory, where a member has what it accumulated: a GPU is sent it first."""
AIM_BANDWIDTH = 0.25


def measure(run: Run) -> None:
    """On the device in turns with the kernel; then from the host's memory, whole, with its checksum."""
    repeats = 2 if run.tiny else 9
    run.note(f"aim on an H200: {AIM_BANDWIDTH:.0%} of the copy's bandwidth, of an update that is on the device")
    for count in TINY_PARAMETERS if run.tiny else FROM_HOST[:1] if run.device.type == "cpu" else PARAMETERS:
        with run.part(f"{count:,} parameters on the device"):
            compare(run, count, repeats)
    for count in TINY_PARAMETERS if run.tiny else FROM_HOST[: 1 if run.device.type == "cpu" else None]:
        with run.part(f"{count:,} parameters from the host"):
            run.need(10)
            ceilings = {"float32": run.ceiling(torch.float32)}
            found = measure_compress(
                parameters=[count], device=run.device, repeats=repeats, ceilings=ceilings, tell=run.tell
            )
            run.add(*found)


def compare(run: Run, count: int, repeats: int) -> None:
    """The choice alone, and the whole body of a payload; on a GPU each in turns with the kernel's."""
    layout, outer = layout_with(count), OuterSettings()
    chunks, vector_P = chunks_of(layout, outer.keep), draw_update(count, run.device)
    cost = Cost(0.0, 4.0 * count + payload_bytes(layout, outer.keep))
    works: dict[str, Callable[[], Any]] = {
        "choice": lambda: encoding.largest_places(vector_P, chunks),
        "whole body": lambda: encoding.encode(vector_P, chunks),
    }
    setting: Setting = {"parameters": count}
    if run.device.type != "cuda":
        for way, work in works.items():
            run.timed(setting | {"way": way}, "parameters", count, work, cost, torch.float32, repeats=repeats)
        return
    kernels = {"choice": lambda: by_kernel(vector_P, chunks), "whole body": lambda: encoded_by_kernel(vector_P, chunks)}
    for way, work in works.items():
        first_s = time_once(kernels[way], run.device)
        one, other = sample_works([work, kernels[way]], run.device, repeats=repeats)
        ratio = spread_of([a / b for a, b in zip(one.seconds, other.seconds, strict=True)])
        run.add(
            run.line(setting | {"way": way}, "parameters", count, one, cost, torch.float32),
            run.line(
                setting | {"way": f"{way}, kernel"},
                "parameters",
                count,
                other,
                cost,
                torch.float32,
                ratio=ratio,
                messages=[f"first call {first_s:.1f} s"],
            ),
        )
    equal = all(torch.equal(a, b) for a, b in zip(works["choice"](), kernels["choice"](), strict=True))
    equal = equal and works["whole body"]() == kernels["whole body"]()
    run.note(f"{count:,} parameters: the product and the kernel make {'the same' if equal else 'NOT THE SAME'} bytes")


def by_kernel(vector_P: torch.Tensor, chunks: Chunks) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel's choice; triton is only imported where there is a GPU."""
    from benchmarks.gpu.kernels import largest_by_kernel

    return largest_by_kernel(vector_P, chunks)


def encoded_by_kernel(vector_P: torch.Tensor, chunks: Chunks) -> bytes:
    """The product's body with the kernel's choice."""
    own, encoding.largest_places = encoding.largest_places, by_kernel
    try:
        return encoding.encode(vector_P, chunks)
    finally:
        encoding.largest_places = own


if __name__ == "__main__":
    main("gpu_compress", measure, __doc__)

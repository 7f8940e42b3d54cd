"""Compressing an update on the device: at what share of the copy's rate, and what a kernel of its own would give.

What bounds it: bytes. Each number is read once, 4 bytes; of 64 of them 14 bits are written. The product finds the
largest of a chunk by sorting the largest of groups; `kernel` finds them in registers in one pass (`kernels`), and what
follows is the product's. Payloads of both are compared, byte by byte.

Run: `python -m benchmarks.gpu.compress [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import torch

from benchmarks.gpu.run import Run, main
from models.bench.compress import DEGREES, layout_with, measure_compress
from models.bench.cost import Cost
from models.train import encoding
from models.train.cohort import OuterSettings
from models.train.payload import Chunks, chunks_of, payload_bytes

PARAMETERS, TINY_PARAMETERS = (10_000_000, 100_000_000, 1_235_814_400), (100_000,)
"""The last: as many as the shape of a billion has."""
CPU_PARAMETERS = (10_000_000,)
AIM_BANDWIDTH = 0.25


def measure(run: Run) -> None:
    """The product by size, then the kernel on the sizes that a GPU is there for."""
    sizes = TINY_PARAMETERS if run.tiny else CPU_PARAMETERS if run.device.type == "cpu" else PARAMETERS
    for count in sizes:
        with run.part(f"{count:,} parameters"):
            ceilings = {"float32": run.ceiling(torch.float32)}
            repeats = 2 if run.tiny else 9
            run.add(
                *measure_compress(
                    parameters=[count], device=run.device, repeats=repeats, ceilings=ceilings, tell=run.tell
                )
            )
    run.note(f"aim on an H200: {AIM_BANDWIDTH:.0%} of the copy's bandwidth")
    if run.device.type == "cuda":
        for count in sizes:
            with run.part(f"kernel, {count:,} parameters"):
                compare(run, count)


def compare(run: Run, count: int) -> None:
    """The choice alone, and the whole body of a payload, each in turns with the product's."""
    from benchmarks.gpu.kernels import largest_by_kernel

    layout, outer = layout_with(count), OuterSettings()
    chunks, vector_P = chunks_of(layout, outer.keep), drawn(count, run.device)
    place_N, most_C = encoding.largest_places(vector_P, chunks)
    found_N, found_C = largest_by_kernel(vector_P, chunks)
    if not (torch.equal(place_N, found_N) and torch.equal(most_C, found_C)):
        raise ValueError("the kernel chooses other coordinates than the product")
    cost = Cost(0.0, 4.0 * count + payload_bytes(layout, outer.keep))
    for way, plain, variant in (
        ("choice", lambda: encoding.largest_places(vector_P, chunks), lambda: largest_by_kernel(vector_P, chunks)),
        ("whole", lambda: encoding.encode(vector_P, chunks), lambda: encoded_by_kernel(vector_P, chunks)),
    ):
        setting = {"way": f"kernel, {way}", "parameters": count}
        run.against(setting, "parameters", count, plain, variant, cost, torch.float32, pairs=9)
    same = encoding.encode(vector_P, chunks) == encoded_by_kernel(vector_P, chunks)
    run.note(f"{count:,} parameters: bodies by the product and by the kernel are {'equal' if same else 'NOT equal'}")


def encoded_by_kernel(vector_P: torch.Tensor, chunks: Chunks) -> bytes:
    """The product's body with the kernel's choice."""
    from benchmarks.gpu.kernels import largest_by_kernel

    own, encoding.largest_places = encoding.largest_places, largest_by_kernel
    try:
        return encoding.encode(vector_P, chunks)
    finally:
        encoding.largest_places = own


def drawn(count: int, device: torch.device) -> torch.Tensor:
    """An update with a heavy tail, as real ones have: normal numbers over the root of a mean of squares of others."""
    generator = torch.Generator(device).manual_seed(0)
    square_P = torch.zeros(count, device=device)
    for _ in range(DEGREES):
        square_P += torch.empty(count, device=device).normal_(generator=generator).square_()
    return torch.empty(count, device=device).normal_(generator=generator).div_(square_P.div_(DEGREES).sqrt_())


if __name__ == "__main__":
    main("gpu_compress", measure, __doc__)

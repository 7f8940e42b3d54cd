"""A device's own ceilings: how many operations a second its matrix product does, how many bytes its memory moves.

Invariants: measured on random data (a product of zeros draws less power and runs faster); the matrices and the copy are
so large that neither launches nor caches decide.
"""

import msgspec
import torch

from models.bench.timing import spread_of, time_work

MATRIX = {"cuda": 8192, "cpu": 1536}
"""Side of the square matrices."""
COPY_BYTES = {"cuda": 4 << 30, "cpu": 256 << 20}
"""Of the tensor that is copied; a GPU that has less free memory than four times it copies an eighth of what is free."""
REPEATS = 25
"""The quickest counts: a ceiling is what the device can do when nothing else holds it back."""


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """What a device was measured to do at most.

    Attributes:
        dtype: of the matrix product.
        operations_s: of a large matrix product of that type.
        bytes_s: of a large copy within the device's memory, bytes read and bytes written.
        matrix, copied_bytes: the sizes that were measured.
    """

    dtype: str
    operations_s: float
    bytes_s: float
    matrix: int
    copied_bytes: int


def measure_ceilings(
    device: torch.device, dtype: torch.dtype, *, matrix: int | None = None, copied_bytes: int | None = None
) -> Ceilings:
    """Measure them now, with as many threads as torch has; of other sizes than the device's where these are given."""
    side = matrix or MATRIX["cuda" if device.type == "cuda" else "cpu"]
    copied = copied_bytes or COPY_BYTES["cpu"]
    if device.type == "cuda" and copied_bytes is None:
        copied = min(COPY_BYTES["cuda"], torch.cuda.mem_get_info(device)[0] // 8 // 4 * 4)
    return Ceilings(
        dtype=str(dtype).removeprefix("torch."),
        operations_s=2 * side**3 / _product_s(device, dtype, side),
        bytes_s=2 * copied / _copy_s(device, copied),
        matrix=side,
        copied_bytes=copied,
    )


def _product_s(device: torch.device, dtype: torch.dtype, side: int) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    return spread_of(time_work(lambda: torch.mm(a, b, out=product), device, repeats=REPEATS)).least


def _copy_s(device: torch.device, copied: int) -> float:
    source = torch.rand(copied // 4, device=device)
    target = torch.empty_like(source)
    return spread_of(time_work(lambda: target.copy_(source), device, repeats=REPEATS)).least

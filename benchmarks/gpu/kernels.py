"""The largest coordinates of each chunk in one pass over an update: a kernel, where the product sorts groups.

What bounds it: each number is read once, 4 bytes; of 4,096 numbers 64 places are written. A chunk stays in registers
while the bits of its 64th largest magnitude are found, from the highest down, 31 counts of a few thousand comparisons.

Invariants: what is chosen, and its order, is what the product chooses: of equal magnitudes the earlier coordinate.

Needs triton; with TRITON_INTERPRET=1 the kernel runs on a CPU, slowly, for a comparison.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]  # not there on a CPU
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]

from models.train.cohort import CHUNK
from models.train.encoding import largest_places
from models.train.payload import Chunks

WARPS = 8
"""Of a chunk: 16 numbers a thread."""


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def choose_largest(
    x_ptr, place_ptr, most_ptr, KEPT: tl.constexpr, LENGTH: tl.constexpr
):  # types would be globals, which no kernel may read
    """One chunk of LENGTH float32: its KEPT places, ascending, and its largest magnitude's bits."""
    chunk = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, LENGTH)
    bits = tl.load(x_ptr + chunk * LENGTH + at).to(tl.int32, bitcast=True) & 0x7FFFFFFF
    threshold = 0
    for step in range(31):
        trial = threshold | (1 << (30 - step))
        reached = tl.sum((bits >= trial).to(tl.int32), 0)
        threshold = tl.where(reached >= KEPT, trial, threshold)
    above = (bits > threshold).to(tl.int32)
    tied = (bits == threshold).to(tl.int32)
    room = KEPT - tl.sum(above, 0)
    taken = above + tied * (tl.cumsum(tied, 0) <= room).to(tl.int32)
    rank = tl.cumsum(taken, 0) - 1
    tl.store(place_ptr + chunk * KEPT + rank, at.to(tl.int64), mask=taken > 0)
    tl.store(most_ptr + chunk, tl.max(bits, 0).to(tl.int64))


def largest_by_kernel(vector_P: torch.Tensor, chunks: Chunks) -> tuple[torch.Tensor, torch.Tensor]:
    """What `models.train.encoding.largest_places` says; chunks that are not whole are left to it."""
    places, most = [], []
    borders = [0, *(np.flatnonzero(np.diff(chunks.length_C)) + 1).tolist(), len(chunks.length_C)]
    for first, last in pairwise(borders):
        start, length = int(chunks.start_C[first]), int(chunks.length_C[first])
        if length == CHUNK:
            part_P = vector_P[start : start + (last - first) * length]
            place_RK, most_R = _of_whole(part_P, last - first, int(chunks.kept_C[first]))
        else:
            parts = {name: getattr(chunks, name)[first:last] for name in ("start_C", "length_C", "kept_C", "tensor_C")}
            place_RK, most_R = largest_places(vector_P, replace(chunks, **parts))
        places.append(place_RK.flatten())
        most.append(most_R)
    return torch.cat(places), torch.cat(most)


def _of_whole(part_P: torch.Tensor, chunks: int, kept: int) -> tuple[torch.Tensor, torch.Tensor]:
    place_RK = torch.empty(chunks, kept, dtype=torch.int64, device=part_P.device)
    most_R = torch.empty(chunks, dtype=torch.int64, device=part_P.device)
    choose_largest[(chunks,)](part_P, place_RK, most_R, KEPT=kept, LENGTH=CHUNK, num_warps=WARPS)
    return place_RK, most_R

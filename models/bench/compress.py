"""How quickly an update is compressed: the largest coordinates of each chunk, quantised and packed.

What bounds it: bytes. Every number of the update is read once, 4 bytes each, and for every 64 of them 14 bits are
written; the choice of the largest is all that looks at every number.

Invariants: the update has a heavy tail, as real ones have; the payload is whole, with its checksum.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost
from models.bench.line import Line, make_line
from models.bench.timing import time_work
from models.train.cohort import OuterSettings
from models.train.compression import compress
from models.train.layout import Layout
from models.train.payload import payload_bytes

TENSOR = 1 << 22
"""Parameters of a tensor: as many tensors as are needed, and a shorter last one."""
DEGREES = 3
"""Of freedom of Student's t, which updates are drawn from."""


def layout_with(parameters: int) -> Layout:
    """So many parameters in matrices of 2,048 columns, and what is left over in a vector."""
    counts = [TENSOR] * (parameters // TENSOR) + [parameters % TENSOR] * (parameters % TENSOR > 0)
    return Layout(
        tuple(f"{index:06}" for index in range(len(counts))),
        tuple((count // 2048, 2048) if count % 2048 == 0 else (count,) for count in counts),
    )


def measure_compress(
    *,
    parameters: Sequence[int],
    device: torch.device,
    repeats: int,
    ceilings: Mapping[str, Ceilings],
    tell: Callable[[str], None],
) -> list[Line]:
    """A line for each number of parameters; `ceilings` by dtype, those of float32."""
    lines = []
    for count in parameters:
        tell(f"compression of {count:,} parameters")
        lines.append(_measure(count, device, ceilings["float32"], repeats))
    return lines


def _measure(count: int, device: torch.device, ceilings: Ceilings, repeats: int) -> Line:
    layout, outer = layout_with(count), OuterSettings()
    vector_P = np.random.default_rng(0).standard_t(DEGREES, count).astype(np.float32)
    samples = time_work(lambda: compress(vector_P, layout, outer), device, repeats=repeats)
    cost = Cost(0.0, 4.0 * count + payload_bytes(layout, outer.keep))
    return make_line({"parameters": count}, "parameters", count, samples, cost, ceilings)

"""How quickly an update is compressed: the largest coordinates of each chunk, quantised and packed.

What bounds it: bytes. Every number of the update is read once, 4 bytes each, and for every 64 of them 14 bits are
written; the choice of the largest is all that looks at every number.

Each size has two lines: the bytes that are made of an update on its device, and all that a member does, from a vector
in main memory to a payload with its checksum there.

Invariants: the update has a heavy tail, as real ones have.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost
from models.bench.line import Line, make_line
from models.bench.samples import sample_works
from models.bench.words import bound_sentence
from models.train.cohort import OuterSettings
from models.train.compression import compress
from models.train.encoding import encode
from models.train.layout import Layout
from models.train.payload import chunks_of, payload_bytes

TENSOR = 1 << 22
"""Parameters of a tensor: as many tensors as are needed, and a shorter last one."""
DEGREES = 3
"""Of freedom of Student's t, which updates are drawn from."""
ENCODED, SENT = "encoded on the device", "sent by a member"


def layout_with(parameters: int) -> Layout:
    """So many parameters in matrices of 2,048 columns, and what is left over in a vector."""
    counts = [TENSOR] * (parameters // TENSOR) + [parameters % TENSOR] * (parameters % TENSOR > 0)
    return Layout(
        tuple(f"{index:06}" for index in range(len(counts))),
        tuple((count // 2048, 2048) if count % 2048 == 0 else (count,) for count in counts),
    )


def draw_update(count: int, device: torch.device) -> torch.Tensor:
    """Numbers of Student's t: normal ones over the root of a mean of squares of others."""
    generator = torch.Generator(device).manual_seed(0)
    square_P = torch.zeros(count, device=device)
    for _ in range(DEGREES):
        square_P += torch.empty(count, device=device).normal_(generator=generator).square_()
    return torch.empty(count, device=device).normal_(generator=generator).div_(square_P.div_(DEGREES).sqrt_())


def measure_compress(
    *,
    parameters: Sequence[int],
    device: torch.device,
    repeats: int,
    ceilings: Mapping[str, Ceilings],
    tell: Callable[[str], None],
) -> list[Line]:
    """The lines of each number of parameters.

    Args:
        ceilings: by dtype; those of float32.
        tell: hears what bounds each size before it is measured.
    """
    lines = []
    for count in parameters:
        layout, outer = layout_with(count), OuterSettings()
        cost = Cost(0.0, 4.0 * count + payload_bytes(layout, outer.keep))
        tell(bound_sentence({"parameters": count}, cost, ceilings["float32"]))
        there_P = draw_update(count, device)
        vector_P, chunks = there_P.cpu().numpy(), chunks_of(layout, outer.keep)
        works = {
            ENCODED: partial(encode, there_P, chunks),
            SENT: partial(compress, vector_P, layout, outer, str(device)),
        }
        samples = sample_works(list(works.values()), device, repeats=repeats)
        lines += [
            make_line(
                {"parameters": count, "way": way},
                "parameters",
                count,
                own.seconds,
                cost,
                ceilings["float32"],
                memory_bytes=own.memory_bytes,
                energy_j=own.energy_j,
            )
            for way, own in zip(works, samples, strict=True)
        ]
    return lines

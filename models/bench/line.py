"""A line of a benchmark: one piece of work in one setting, what it took, and how far that is from the floor.

Invariants: everything that a record holds follows from what was measured and counted; what a device does not tell is
None, never a guess.
"""

from collections.abc import Mapping, Sequence

import msgspec

from models.bench.ceilings import Ceilings
from models.bench.cost import Cost
from models.bench.timing import Spread, spread_of

Setting = dict[str, str | int | float | bool]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One setting's result.

    Attributes:
        setting: what it was, by name: batch, length, dtype, models …
        unit, units: what is done in one repetition, and how many of it.
        seconds: of a repetition.
        units_s: units a second, of the median repetition.
        operations_s, mfu: floating-point operations a second, and as a share of the device's measured matrix product;
            None where the work is of another kind.
        bytes_s, bandwidth: bytes that had to move, a second, and as a share of the device's measured copy; or None.
        floor_s, bound: the least seconds by the measured ceilings, and what gives them: operations, bytes, or another
            work that this one cannot do without.
        ratio: its throughput as a share of the bare work's beside it, in each pair of both, where that was measured.
        memory_bytes: the most that the device's memory held; on a CPU the process's.
        energy_j: of one repetition, where the driver tells.
        messages: what a reader of the figure has to know, such as a batch that had to be made smaller.
    """

    setting: Setting
    unit: str
    units: int
    seconds: Spread
    units_s: float
    operations_s: float | None = None
    mfu: float | None = None
    bytes_s: float | None = None
    bandwidth: float | None = None
    floor_s: float
    bound: str
    ratio: Spread | None = None
    memory_bytes: int | None = None
    energy_j: float | None = None
    messages: tuple[str, ...] = ()


def make_line(
    setting: Mapping[str, str | int | float | bool],
    unit: str,
    units: int,
    samples: Sequence[float],
    cost: Cost,
    ceilings: Ceilings,
    *,
    ratio: Spread | None = None,
    memory_bytes: int | None = None,
    energy_j: float | None = None,
    messages: Sequence[str] = (),
) -> Line:
    """The line of some samples, in seconds, of work that does `units` and costs at least `cost` each time."""
    seconds = spread_of(samples)
    operations_s, bytes_s = cost.operations / seconds.median, cost.bytes / seconds.median
    return Line(
        setting=dict(setting),
        unit=unit,
        units=units,
        seconds=seconds,
        units_s=units / seconds.median,
        operations_s=operations_s,
        mfu=operations_s / ceilings.operations_s,
        bytes_s=bytes_s,
        bandwidth=bytes_s / ceilings.bytes_s,
        floor_s=max(cost.floors_s(ceilings)),
        bound=cost.bound(ceilings),
        ratio=ratio,
        memory_bytes=memory_bytes,
        energy_j=energy_j,
        messages=tuple(messages),
    )

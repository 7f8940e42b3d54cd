"""Time: of work on any device, many times, after a warm-up; and its spread.

Invariants: a sample begins and ends with the device idle; work on a GPU is timed by the GPU's own events.
"""

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import msgspec
import torch


class Spread(msgspec.Struct, frozen=True):
    """Median, quartiles and extremes of some samples."""

    median: float
    quartiles: tuple[float, float]
    least: float
    most: float
    samples: int


def spread_of(samples: Sequence[float]) -> Spread:
    """The spread of one sample or more."""
    ordered = sorted(samples)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return Spread(statistics.median(ordered), (low, high), ordered[0], ordered[-1], len(ordered))


def time_work(work: Callable[[], Any], device: torch.device, *, repeats: int, warm_up: int = 2) -> list[float]:
    """Seconds of each of `repeats` calls, after `warm_up` that are not counted."""
    for _ in range(warm_up):
        work()
    return [time_once(work, device) for _ in range(repeats)]


def time_once(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, until the device has done what it was given."""
    if device.type != "cuda":
        began = perf_counter()
        work()
        return perf_counter() - began
    torch.cuda.synchronize(device)
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000

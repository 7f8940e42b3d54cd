"""Samples of works side by side: seconds, memory and energy of each, in turns; and a profile of one of them.

Invariants: works that are compared are measured in turns, each round in the other order than the one before, so that
what else the machine does meets both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.bench.machine import energy_meter, peak_memory
from models.bench.timing import time_once

Work = Callable[[], Any]


@dataclass
class Samples:
    """Of one work: seconds of each repetition, the most memory, joules of a repetition where they are told."""

    seconds: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    energy_j: float | None = None


def sample_works(works: Sequence[Work], device: torch.device, *, repeats: int, warm_up: int = 2) -> list[Samples]:
    """Every work `repeats` times, after `warm_up` that are not counted."""
    for _ in range(warm_up):
        for work in works:
            work()
    samples, joules = [Samples() for _ in works], [0.0 for _ in works]
    told = True
    for index in range(repeats):
        for which in range(len(works))[:: -1 if index % 2 else 1]:
            with energy_meter(device) as energy, peak_memory(device) as peak:
                samples[which].seconds.append(time_once(works[which], device))
            samples[which].memory_bytes = max(samples[which].memory_bytes, peak.bytes)
            told = told and energy.joules is not None
            joules[which] += energy.joules or 0.0
    for own, used in zip(samples, joules, strict=True):
        own.energy_j = used / repeats if told else None
    return samples


def write_trace(work: Work, device: torch.device, path: Path) -> None:
    """Do the work once, and write what the processor and the device did, as a Chrome trace. Raises OSError."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        time_once(work, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile.export_chrome_trace(str(path))

"""The device of a process that hosts models: found, tried once, given its share of memory, and watched.

Invariants: where a GPU is asked for, nothing is computed on a CPU in its stead; a GPU that does not answer, or fails
later, is told in one sentence, and again by every call that follows: only a new process can go on.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from models.errors import DeviceLost
from models.faults import first_line, is_device_fault

CONTEXT_BYTES = 1 << 29
"""Kept free of a GPU's memory for each process that shares it: what CUDA and its libraries take is not counted in what
a process may allocate."""
LEAST_SHARE = 0.01


def memory_share(gpus: float, total_bytes: int) -> float:
    """Of a GPU's memory, what a process may allocate that shares it with others and has `gpus` of it (0 to 1)."""
    return max(LEAST_SHARE, gpus - CONTEXT_BYTES / total_bytes)


def open_device(wanted: str, gpus: float = 0.0) -> str:
    """The device to compute on, `cpu` or `cuda`, which has answered.

    Args:
        wanted: cpu, cuda, or auto: a GPU where one is reserved or is there.
        gpus: reserved of them, as Ray counts; a share of one is that share of its memory too.

    Raises:
        DeviceLost: a GPU is wanted, and does not answer.
    """
    if wanted == "cpu" or (wanted == "auto" and not gpus and not torch.cuda.is_available()):
        return "cpu"
    try:
        if 0 < gpus < 1:
            total_bytes = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(memory_share(gpus, total_bytes), 0)
        torch.ones(1, device="cuda").item()
    except (RuntimeError, AssertionError) as error:
        raise DeviceLost(f"the GPU does not answer ({first_line(error)})", os.getpid()) from None
    return "cuda"


def free_bytes(device: torch.device) -> int:
    """What this process may still allocate on a GPU: of what is free there, and of its own share."""
    index = torch.cuda.current_device() if device.index is None else device.index
    free, total = torch.cuda.mem_get_info(index)
    share = int(torch.cuda.get_per_process_memory_fraction(index) * total)
    return min(free + torch.cuda.memory_reserved(index), share) - torch.cuda.memory_allocated(index)


def send(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """An array on the device; a GPU takes it when it comes to it, and nobody waits."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class Watched:
    """The device of a process. `device` is its name, cpu or cuda; the arguments are those of `open_device`."""

    def __init__(self, wanted: str, gpus: float = 0.0) -> None:
        self._lost: DeviceLost | None = None
        self.device = "cuda"
        try:
            self.device = open_device(wanted, gpus)
        except DeviceLost as lost:
            self._lost = lost

    def check(self) -> None:
        """Raise DeviceLost where the device did not answer, or has failed."""
        if self._lost is not None:
            raise DeviceLost(self._lost.sentence, self._lost.process)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Work on the device. Raises DeviceLost as `check`, and where the work ends with a fault of the device."""
        self.check()
        try:
            yield
        except Exception as error:
            if not is_device_fault(error):
                raise
            self._lost = DeviceLost(f"the GPU failed ({first_line(error)})", os.getpid())
            raise self._lost from None

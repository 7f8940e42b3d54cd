"""The machine that something is measured on: what it is, what memory the work takes there, what energy.

Invariants: what the machine or its driver does not tell is empty or None, never a guess; nothing here changes a device.
"""

import importlib
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import torch

PACKAGES = ("msgspec", "numpy", "pyarrow", "PyNaCl", "ray", "torch", "transformers", "triton")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one of `ru_maxrss`."""
RESET_PEAK = "5"
"""What makes Linux forget the most that a process has held, written to its `clear_refs` (proc_pid_clear_refs(5))."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A device and what is around it.

    Attributes:
        device: its name; on a CPU that of the processor.
        driver: of a GPU: the versions of CUDA and, where NVML tells, of the driver; else empty.
        memory_bytes: the device's.
        cores: that this process may use.
        cpu, system: the processor's name, the operating system.
        load: of the last 1, 5 and 15 minutes, in processes that wait for a core.
        versions: of Python and of the packages that matter, by name.
    """

    device: str
    driver: str
    memory_bytes: int
    cores: int
    cpu: str
    system: str
    load: tuple[float, ...]
    versions: dict[str, str]


def describe_machine(device: torch.device) -> Machine:
    """What there is to say of this machine and this device now."""
    cpu = _cpu_name()
    name, driver, memory_bytes = cpu, "", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        name, driver, memory_bytes = properties.name, _driver(), int(properties.total_memory)
    return Machine(
        device=name,
        driver=driver,
        memory_bytes=memory_bytes,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cpu=cpu,
        system=platform.platform(),
        load=tuple(round(value, 2) for value in os.getloadavg()),
        versions=_versions(),
    )


@dataclass
class Peak:
    """The most bytes that were held, once the context is left."""

    bytes: int = 0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The most that torch holds on the device until the context is left, what it held before included.

    On a CPU: the most that the process has in memory; where the system cannot forget an earlier peak, in its lifetime.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = int(torch.cuda.max_memory_allocated(device))
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    yield peak
    peak.bytes = _peak_bytes()


def _peak_bytes() -> int:
    """Of this process. Linux counts into ru_maxrss what the process that started this one held, so its own account is
    read where there is one.
    """
    with suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
    return RSS_UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass
class Energy:
    """What was used, in joules, once the context is left; None where nobody tells."""

    joules: float | None = None


@contextmanager
def energy_meter(device: torch.device) -> Iterator[Energy]:
    """The energy of the whole GPU, whoever uses it, from NVML's counter; it needs the package nvidia-ml-py.

    The counter moves a few times a second: measure many repetitions at once.
    """
    energy = Energy()
    before = _joules(device)
    yield energy
    after = _joules(device)
    if before is not None and after is not None:
        energy.joules = after - before


def _joules(device: torch.device) -> float | None:
    """Since the driver was loaded. The device has done what it was given when this is read."""
    nvml = _nvml() if device.type == "cuda" else None
    if nvml is None:
        return None
    torch.cuda.synchronize(device)
    # NVML counts the devices of the machine, torch those that are visible: both know the identifier.
    identifier = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(identifier if "-" in identifier[:4] else f"GPU-{identifier}")
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except nvml.NVMLError:
        return None


def _driver() -> str:
    told = [f"CUDA {torch.version.cuda}"]
    if nvml := _nvml():
        driver = nvml.nvmlSystemGetDriverVersion()
        told.append(f"driver {driver.decode() if isinstance(driver, bytes) else driver}")
    return ", ".join(told)


def _nvml() -> Any | None:
    """NVML, ready to be asked; None without its package or its driver."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions

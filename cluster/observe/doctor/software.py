"""Versions of what taoray needs, and GPUs: whether the driver and PyTorch see the same, and each computes."""

import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cluster.observe.doctor.check import Check, bad, ok, warn
from cluster.version import ROOT, is_checkout

COMPUTE_S = 120.0
"""PyTorch is imported, and a context is made on each GPU."""

_COMPUTE = """
import json, torch
found = []
for index in range(torch.cuda.device_count()):
    try:
        total = torch.arange(1000, device=f"cuda:{index}").sum().item()
        found.append("" if total == 499500 else f"it adds 0 to 999 up to {total}")
    except Exception as error:
        found.append(str(error).splitlines()[0])
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": found}))
"""


def wanted() -> tuple[str, tuple[str, ...]]:
    """What the project asks for: of Python, and of packages."""
    if is_checkout(ROOT):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return project["requires-python"], tuple(project["dependencies"])
    return metadata("taoray")["Requires-Python"], tuple(
        line for line in requires("taoray") or () if "extra" not in line
    )


def installed(name: str) -> str | None:
    """The version of a package; None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_versions(
    python: str, wanted_python: str, wanted: Sequence[str], find: Callable[[str], str | None] = installed
) -> list[Check]:
    """Python, and each package, against what the project asks for.

    Args:
        python: its version. find: the version of a package.
    """
    if SpecifierSet(wanted_python).contains(python, prereleases=True):
        checks = [ok("version.python", f"Python {python}")]
    else:
        mend = f"make an environment with a Python that is {wanted_python}"
        checks = [bad("version.python", f"Python {python}, and {wanted_python} is needed", mend)]
    wrong: list[Check] = []
    right: list[str] = []
    for line in wanted:
        need = Requirement(line)
        found = find(need.name)
        name = f"version.{need.name}"
        if found is None:
            wrong.append(bad(name, f"{need.name} is not installed", f"pip install '{line}'"))
        elif not need.specifier.contains(found, prereleases=True):
            wrong.append(bad(name, f"{need.name} {found}, and {need.specifier} is needed", f"pip install '{line}'"))
        elif need.name in ("ray", "torch", "transformers"):
            right.append(f"{need.name} {found}")
    if not wrong:
        checks.append(ok("version.packages", ", ".join([*right, f"and {len(wanted) - len(right)} others as needed"])))
    return checks + wrong


def check_here() -> list[Check]:
    """The versions of this environment."""
    return check_versions(platform.python_version(), *wanted())


def driver_gpus() -> int | None:
    """How many GPUs the NVIDIA driver has; None where there is no driver."""
    folder = Path("/proc/driver/nvidia/gpus")
    if folder.is_dir():
        return len(list(folder.iterdir()))
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.count("UUID: GPU-") if done.returncode == 0 else None


def compute(environment: Mapping[str, str] | None = None) -> dict[str, object]:
    """What PyTorch says of its GPUs in a process of its own: its version, and of each what is wrong with it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _COMPUTE],
            capture_output=True,
            text=True,
            timeout=COMPUTE_S,
            check=False,
            env=dict(os.environ if environment is None else environment),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"PyTorch did not answer within {COMPUTE_S:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return {"error": said[-1]}
    found: dict[str, object] = json.loads(lines[-1])
    return found


def check_gpus(driver: int | None, found: Mapping[str, object], visible: str | None, needed: float) -> list[Check]:
    """The GPUs of a machine.

    Args:
        driver: how many the driver has; None: there is no driver.
        found: what `compute` says.
        visible: CUDA_VISIBLE_DEVICES. needed: GPUs that the network's hosts and validators ask for.
    """
    if "error" in found:
        return [
            bad("gpu.torch", f"PyTorch does not work: {found['error']}", "install the torch that suits this machine")
        ]
    faults = found["gpus"]
    assert isinstance(faults, list)
    checks: list[Check] = []
    if driver is not None and driver != len(faults):
        seen = f"the driver has {driver} GPUs, PyTorch {found['torch']} sees {len(faults)}"
        if visible is not None:
            checks.append(warn("gpu.count", f"{seen}", f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it to use all"))
        else:
            checks.append(bad("gpu.count", seen, "install a torch that was built for this driver's CUDA"))
    for index, fault in enumerate(faults):
        if fault:
            checks.append(
                bad(f"gpu.{index}", f"GPU {index} does not compute: {fault}", "restart its driver, or leave it out")
            )
    if needed > len(faults):
        mend = "set placement.gpus_per_host and gpus_per_validator to what there is, or join a cluster that has them"
        checks.append(bad("gpu.needed", f"the network asks for {needed:g} GPUs, this machine has {len(faults)}", mend))
    if not checks:
        seen = (
            f"{len(faults)} GPUs, each computes" if faults else "no GPU, and none is asked for: models run on the CPU"
        )
        checks.append(ok("gpu", seen))
    return checks

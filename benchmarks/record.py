"""What every benchmark writes: one JSON record with device, versions, commit, configuration, and what was measured.

Invariants: a figure is the median of its samples and stands beside their spread; what was changed since the
commit is listed.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = ("actors", "benchmarks/*.py", "cluster", "ledger", "models")
"""Where changes that are not in the commit would make a figure another."""
PACKAGES = ("numpy", "msgspec", "PyNaCl", "pyarrow", "ray", "torch")


def time_pairs(
    first: Callable[[], Any],
    second: Callable[[], Any],
    pairs: int,
    repeats: int = 1,
    clock: Callable[[], float] = perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds of a call of both, run in turns, each pair in the other order than the one before.

    A sample is the mean of `repeats` calls; a first pair is not counted. `clock`: what tells seconds; `process_time`
    for work on one thread on a machine that others use too.
    """
    first(), second()
    samples: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        for which in (0, 1) if index % 2 else (1, 0):
            started = clock()
            for _ in range(repeats):
                (first, second)[which]()
            samples[which].append((clock() - started) / repeats)
    return samples


def summarize(samples: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and extremes."""
    ordered = sorted(samples)
    low, _, high = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    return {
        "median": statistics.median(ordered),
        "quartiles": [low, high],
        "least": ordered[0],
        "most": ordered[-1],
        "samples": len(ordered),
    }


def write_record(name: str, configuration: dict[str, Any], measured: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, print it as one line, and say where it is."""
    record = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED).splitlines(),
        "device": _device(),
        "versions": _versions(),
        "configuration": configuration,
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return path


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _device() -> dict[str, Any]:
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions

"""What every benchmark writes: one JSON record with device, versions, commit, configuration, and what was measured.

Invariants: a figure is the median of its samples and stands beside their spread; what was changed since the
commit is listed.
"""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import torch  # noqa: E402

from models.bench.machine import describe_machine  # noqa: E402
from models.bench.report import code_version  # noqa: E402
from models.bench.timing import spread_of  # noqa: E402


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
    told: dict[str, Any] = msgspec.to_builtins(spread_of(samples))
    return told


def write_record(name: str, configuration: dict[str, Any], measured: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, print it as one line, and say where it is."""
    machine, (commit, changed) = describe_machine(torch.device("cpu")), code_version()
    record = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "changed": changed,
        "device": {"cpu": machine.cpu, "cores": machine.cores, "load": machine.load, "system": machine.system},
        "versions": machine.versions,
        "configuration": configuration,
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return path

"""How long it takes to value many models at once: certified weights on two folds, closed form, and errors.

256 models on 65,536 and on 262,144 events in memory, and 1,024 on 262,144 (with --thorough 1,024 on 1,048,576) from a
memory map of float32, with the peak of memory. The rows are a hard case: models of like quality with their own errors,
so that many carry weight. What bounds it: one exponential of every probability, the passes over all rows that certify,
and the Hessians of the rows with weight (a product of K² by the events each). `passes`: how often all of them were
taken in hand; `passes_worth`: the time, in those that reading the matrix of float32 once takes at the rate of a large
copy in the same minute. On a processor exponentials and products take longer than reading.

    python -m benchmarks.value [--runs 5] [--threads 1] [--thorough]
"""

import argparse
import resource
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.record import summarize, write_record
from models.bench.ceilings import measure_ceilings
from models.bench.cost import value_cost
from models.bench.value import BASELINE, make_rows
from models.host.allocator import keep_freed_memory
from models.value.measures import make_table, measure_shares

CPU = torch.device("cpu")


def map_rows(models: int, events: int, path: Path, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Such log-probabilities in a file of NumPy's behind a memory map, row by row."""
    rng = np.random.default_rng(seed)
    rows_NM = np.lib.format.open_memmap(path, "w+", np.float32, (models, events))
    hard_M = rng.normal(-2.5, 1.0, events).astype(np.float32)
    for row in range(models):
        skill = 0.005 * rng.standard_normal()
        rows_NM[row] = np.minimum(hard_M + 0.5 * rng.standard_normal(events, np.float32) + skill, -1e-3)
    return rows_NM, np.full(events, BASELINE)


def value(rows_NM: Any, baseline_M: Any, runs: int) -> dict[str, Any]:
    """Seconds of a valuation, and what it certifies; memory in MiB is the most that this process has held so far."""
    samples = []
    for _ in range(runs + (runs > 1)):
        started = perf_counter()
        table = make_table(rows_NM, baseline_M)
        measured = measure_shares(table)
        samples.append(perf_counter() - started)
    seconds = summarize(samples[-runs:])
    ceilings = measure_ceilings(CPU, torch.float64)
    models, events = rows_NM.shape
    return {
        "seconds": seconds,
        "passes": table.passes,
        "passes_worth": seconds["median"] / value_cost(models, events).floors_s(ceilings)[1],
        "copy_bytes_s": ceilings.bytes_s,
        "certificate": measured.certificate,
        "sum_less_gain_bits": float(measured.bits_N.sum() - measured.gain),
        "gain_bits": measured.gain,
        "gain_se_bits": measured.gain_se,
        "rows_with_weight": int((measured.weights_SN > 0).sum()) if measured.weights_SN is not None else 0,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "matrix_mib": models * events * 4 >> 20,
    }


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--thorough", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    measured = {f"256 x {events}": value(*make_rows(256, events, CPU), options.runs) for events in (65_536, 262_144)}
    for events in (262_144, *([1_048_576] if options.thorough else [])):
        with tempfile.TemporaryDirectory() as folder:
            rows_NM, baseline_M = map_rows(1024, events, Path(folder) / "rows.npy")
            measured[f"1024 x {events}, memory map"] = value(rows_NM, baseline_M, 1)
    write_record("value", vars(options), measured)


if __name__ == "__main__":
    main()

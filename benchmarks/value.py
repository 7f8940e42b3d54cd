"""How long it takes to value many models at once: certified weights on two folds, closed form, and errors.

256 models on 65,536 events in memory, and 1,024 on 262,144 (with --thorough 1,024 on 1,048,576) from a memory map of
float32, with the peak of memory. The rows are a hard case: models of like quality that err independently, so that many
carry weight. What bounds it: one exponential of every probability, the passes over all rows that certify, and the
Newton steps on the rows with weight (a product of K² by the events each). On a machine that others use too, a second
thread of torch waits more than it works: 5.6 s instead of 1 s were seen, so that one is the default.

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
from models.value import shares


def make_rows(models: int, events: int, path: Path | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """log-probabilities in float32, in memory or in a file of NumPy's behind a memory map."""
    rng = np.random.default_rng(seed)
    shape = (models, events)
    rows_NM = np.empty(shape, np.float32) if path is None else np.lib.format.open_memmap(path, "w+", np.float32, shape)
    hard_M = rng.normal(-2.5, 1.0, events).astype(np.float32)
    for row in range(models):
        skill = 0.005 * rng.standard_normal()
        rows_NM[row] = np.minimum(hard_M + 0.5 * rng.standard_normal(events, np.float32) + skill, -1e-3)
    return rows_NM, np.full(events, -4.0)


def value(rows_NM: np.ndarray, baseline_M: np.ndarray, runs: int) -> dict[str, Any]:
    """Seconds of `shares`, and what it certifies; memory in MiB is the most that this process has held so far."""
    samples = []
    for _ in range(runs + (runs > 1)):
        started = perf_counter()
        measured = shares(rows_NM, baseline_M)
        samples.append(perf_counter() - started)
    return {
        "seconds": summarize(samples[-runs:]),
        "certificate": measured.certificate,
        "sum_less_gain_bits": float(measured.bits_N.sum() - measured.gain),
        "gain_bits": measured.gain,
        "gain_se_bits": measured.gain_se,
        "rows_with_weight": int((measured.weights_SN > 0).sum()) if measured.weights_SN is not None else 0,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "matrix_mib": rows_NM.nbytes >> 20,
    }


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--thorough", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measured = {"256 x 65536": value(*make_rows(256, 65_536, None), options.runs)}
    for events in (262_144, *([1_048_576] if options.thorough else [])):
        with tempfile.TemporaryDirectory() as folder:
            rows_NM, baseline_M = make_rows(1024, events, Path(folder) / "rows.npy")
            measured[f"1024 x {events}, memory map"] = value(rows_NM, baseline_M, 1)
    write_record("value", vars(options), measured)


if __name__ == "__main__":
    main()

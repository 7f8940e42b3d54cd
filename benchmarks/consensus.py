"""How long one epoch of consensus takes in exact integers, against the same epoch in float64.

What bounds it: each validator's vote on each uid is read from a Python list once, sorted once (weights by column, for
the stake-weighted median) and divided up to four times (votes by row, old, new and mixed bonds by column), then bonds
are written back to lists. All of it is memory traffic over dense matrices of 8-byte entries, 8 MiB each at 4096 × 256.
Integers need no more of it than floats, but dividing to largest remainders needs a sort, where a float needs none.

Both versions take and give the same Python rows. Run: `python benchmarks/consensus.py [--pairs 9]`, on one core.
"""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from record import summarize, time_pairs, write_record  # noqa: E402

from ledger.epoch.consensus import Rules, compute_epoch  # noqa: E402
from ledger.epoch.fixed import ONE_Q31  # noqa: E402

SIZES = ((256, 64), (1024, 128), (4096, 256))
ENTRIES_PER_SAMPLE = 1 << 20
"""Small networks are run as often as takes the time of the large one."""
PROFILES = {
    "classic": Rules(max_validators=256),
    "yuma3": Rules(max_validators=256, profile="yuma3"),
    "yuma3_liquid": Rules(max_validators=256, profile="yuma3", liquid_alpha=True),
}
AIM_RATIO, AIM_S = 1.5, 1.0


def load_float64() -> ModuleType:
    """The float64 version that the tests hold consensus against."""
    path = ROOT / "tests" / "ledger" / "epoch" / "float64.py"
    spec = importlib.util.spec_from_file_location("float64_consensus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure(float64: ModuleType, rules: Rules, uids: int, validators: int, pairs: int) -> dict[str, Any]:
    """One size and profile: both in turns, the ratio of each pair, and how far dividends differ."""
    inputs = float64.random_inputs(1, size=uids, validators=validators)
    repeats = max(1, ENTRIES_PER_SAMPLE // (uids * validators))
    exact_s, float_s = time_pairs(
        lambda: compute_epoch(inputs, rules), lambda: float64.compute_float(inputs, rules), pairs, repeats
    )
    ratios = [exact / floating for exact, floating in zip(exact_s, float_s, strict=True)]
    dividends = compute_epoch(inputs, rules).dividends_q31[:validators]
    expected = float64.compute_float(inputs, rules).dividends[:validators]
    return {
        "uids": uids,
        "validators": validators,
        "calls_per_sample": repeats,
        "exact_s": summarize(exact_s),
        "float64_s": summarize(float_s),
        "ratio": summarize(ratios),
        "largest_relative_difference_of_dividends": max(
            abs(ours / ONE_Q31 / theirs - 1) for ours, theirs in zip(dividends, expected, strict=True)
        ),
    }


def main() -> None:
    """Measure all sizes and profiles, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    float64 = load_float64()
    measured = {
        name: [measure(float64, rules, uids, validators, pairs) for uids, validators in SIZES]
        for name, rules in PROFILES.items()
    }
    configuration = {
        "pairs": pairs,
        "density": 1.0,
        "threads": 1,
        "aim": {"ratio": AIM_RATIO, "seconds at 4096 x 256": AIM_S},
    }
    path = write_record("consensus", configuration, measured)
    for name, rows in measured.items():
        for row in rows:
            print(
                f"{name} {row['uids']} x {row['validators']}: {row['exact_s']['median']:.3f} s, "
                f"ratio {row['ratio']['median']:.2f} ({row['ratio']['least']:.2f} to {row['ratio']['most']:.2f})",
                file=sys.stderr,
            )
    print(path, file=sys.stderr)


if __name__ == "__main__":
    main()

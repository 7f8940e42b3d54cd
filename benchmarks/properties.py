"""Does the ledger keep its promises under random use, for as long as one cares to run it?

The machine is `benchmarks/ledger_machine.py`: every call, by owners and strangers, in and out of order, in blocks on a
chain on this disk, with reopening, finality and replays of prefixes between them. It ends at the first broken promise,
with the shortest sequence of steps that breaks it.

What bounds it: a step compares all rows of the state before and after, a block waits for the disk (most of the time),
and each run ends with a replay of its whole chain.

Run: `python benchmarks/properties.py [--steps 50000] [--quick]`.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from hypothesis import HealthCheck, Phase, settings  # noqa: E402
from hypothesis.stateful import run_state_machine_as_test  # noqa: E402

from benchmarks.ledger_machine import LedgerMachine  # noqa: E402
from benchmarks.record import write_record  # noqa: E402

STEPS_A_RUN = 120
"""Some thirty blocks, so that epochs close, takes may be raised, and bars end."""


def run(steps: int) -> dict[str, float | int | dict[str, int]]:
    """At least so many steps in runs of their own chain; AssertionError with the shortest failing run."""
    seen = LedgerMachine.seen
    seen.clear()
    started = time.perf_counter()
    while seen["steps"] < steps:
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                max_examples=25,
                stateful_step_count=STEPS_A_RUN,
                deadline=None,
                database=None,
                phases=(Phase.explicit, Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    elapsed_s = time.perf_counter() - started
    return {"steps": seen["steps"], "seconds": round(elapsed_s, 1), "seen": dict(sorted(seen.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--quick", action="store_true", help="3,000 steps, and no record")
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    arguments = parser.parse_args()
    steps = 3_000 if arguments.quick else arguments.steps
    measured = run(steps)
    if arguments.quick:
        print(measured)
    else:
        path = write_record("properties", {"steps": steps, "steps_a_run": STEPS_A_RUN}, measured)
        if not arguments.json:
            print(path, file=sys.stderr)


if __name__ == "__main__":
    main()

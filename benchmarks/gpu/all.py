"""Everything that is to be known of a GPU, in one command and a given time, most important first.

Invariants: each script runs in a process of its own, so that what one of them breaks is not the others'; a script that
has used its time is ended, and its record has what it measured; the last that is printed is a short table of all.

Run: `python -m benchmarks.gpu.all --out FOLDER [--minutes 9] [--device cuda] [--tiny] [--only score,train]`.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu.run import compact
from models.bench.report import read_report
from models.bench.words import quantity

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "ceilings": 45,
    "score": 140,
    "train": 115,
    "value": 60,
    "stacked": 50,
    "compress": 35,
    "against_lm_eval": 50,
    "memory": 35,
}
"""Seconds that each may take; what one leaves, the next may use."""
WIDTH = 140
END_S = 20
"""To end a script whose measurement outlasts its time."""


def main() -> None:
    """Run them one after another, then print what they found. Exit code 1 where one of them ended with an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="shapes of a test")
    parser.add_argument("--only", default=",".join(SCRIPTS), help="some of the scripts, by name")
    told = parser.parse_args()
    ends = time.monotonic() + 60 * told.minutes
    told.out.mkdir(parents=True, exist_ok=True)
    started_at = time.time()
    failed, allowance = [], 0.0
    for name in told.only.split(","):
        began = time.monotonic()
        allowance += SCRIPTS[name] * told.minutes / 9.0
        seconds = min(allowance, ends - began - END_S)
        if seconds <= 0 or run_script(name, told, seconds) != 0:
            failed.append(name)
        allowance = max(0.0, allowance - (time.monotonic() - began))
    # What matters most is nearest to the end, where the most is seen of a long output.
    for name in reversed(SCRIPTS):
        for path in told.out.glob(f"gpu_{name}_*.json"):
            if path.stat().st_mtime >= started_at:
                print_record(path)
    print(f"not finished: {', '.join(failed) or 'none'}; {60 * told.minutes - (ends - time.monotonic()):.0f} s")
    raise SystemExit(1 if failed else 0)


def run_script(name: str, told: argparse.Namespace, seconds: float) -> int:
    """Run one script for at most so long; its exit code."""
    command = [
        sys.executable,
        "-m",
        f"benchmarks.gpu.{name}",
        "--device",
        told.device,
        "--out",
        str(told.out.resolve()),
    ]
    command += ["--seconds", str(seconds), *(["--tiny"] if told.tiny else [])]
    print(f"== {name}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
    # Its table is printed at the end from its record.
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(seconds + END_S / 2)
    except subprocess.TimeoutExpired:
        # Compilers that it started are of its session, which nobody else is in.
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def print_record(path: Path) -> None:
    """Its lines, short, and what else it says."""
    report = read_report(path)
    # Of a comparison what it is compared with is in its ratios.
    compared = any(line.ratio for line in report.lines)
    lines = [
        line for line in report.lines if line.ratio or not compared or "one after another" not in line.setting.values()
    ]
    told = [f"{own.dtype} {quantity(own.operations_s, 'FLOP/s')}" for own in report.ceilings]
    told += [f"copy {quantity(own.bytes_s, 'B/s')}" for own in report.ceilings[:1]]
    print(f"{path.stem}: {report.machine.device}; {', '.join(told)}")
    for text in [*map(compact, lines), *report.messages]:
        print(f"  {text[:WIDTH]}")


if __name__ == "__main__":
    main()

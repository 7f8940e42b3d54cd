"""How well do members that train apart, and seldom exchange little, learn? And with cheats among them?

A small byte model learns from the standard library's text: on one machine, with one gradient of all members a step,
in dense rounds (DiLoCo, arXiv:2311.08105), and in compressed rounds as a cohort of the network takes them; the same
pages in the same order, the same first parameters. Then three of eight members cheat.

What bounds the figures: a seed's runs share text and first parameters, so that ratios are far more exact than bits per
byte. A run of 2^20 bytes takes one to two minutes of one core.

Run: `python benchmarks/training.py [--quick] [--only TABLE …] [--finished] [--json]`. Finished runs stay under
`build/training`, so a table that was cut off goes on; `--finished` plays nothing and writes the record of what is
there. Exit code 1 if an aim is missed.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import msgspec  # noqa: E402
import torch  # noqa: E402

from benchmarks.record import write_record  # noqa: E402
from benchmarks.training_plan import Job, cheats, tried, ways  # noqa: E402
from benchmarks.training_summary import summarize_runs  # noqa: E402
from benchmarks.training_world import Settings  # noqa: E402

FOLDER = ROOT / "build" / "training"
SETTINGS = Settings()
CHEATED = Settings(tokens=1 << 20, inner_steps=8, windows=384, curve_windows=64, points=4)
QUICK = Settings(tokens=1 << 16, windows=96, curve_windows=32, points=2)
TABLES = ("ways", "cheats", "tried")


def jobs(quick: bool) -> list[Job]:
    """All runs, in the order in which they are played."""
    if quick:
        return [job for job in ways(QUICK) if job.seed == 1 and job.members in (1, 4)]
    return [*ways(SETTINGS), *cheats(CHEATED), *tried()]


def show(line: dict[str, Any]) -> str:
    """A run for a person."""
    return (
        f"{line['table']:6s} {line['name']:32s} members {line['members']}  seed {line['seed']}  "
        f"{line['bits_per_byte'] or math.nan:.4f} bits per byte  sent {line['sent_bytes']:,} bytes  {line['seconds']} s"
    )


def main() -> None:
    """Play the runs, print a line each, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, four members, little text; no record")
    parser.add_argument("--only", nargs="*", default=TABLES[:2], choices=TABLES, help="tables to play")
    parser.add_argument("--finished", action="store_true", help="play nothing")
    parser.add_argument("--json", action="store_true", help="only the JSON record on standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for job in jobs(arguments.quick):
        if job.table in arguments.only and not arguments.finished:
            print(show(job.line(FOLDER)), file=sys.stderr, flush=True)
        if job.path(FOLDER).exists() and job.table in arguments.only:
            lines.append(job.line(FOLDER))
    measured = {"summary": summarize_runs(lines), "runs": lines}
    if arguments.quick:
        print(json.dumps(measured))
    else:
        write_record(
            "training", {"ways": msgspec.to_builtins(SETTINGS), "cheats": msgspec.to_builtins(CHEATED)}, measured
        )
    if not all(measured["summary"]["aims"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()

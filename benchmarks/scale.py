"""How large can a network be? An epoch of 100, 1,000 and 10,000 peers with 4 to 128 validators, simulated.

* driven for real: the plan of stacks and hosts, the size of requests, the dispatcher, books and votes of every
  validator, signed extrinsics, the queue, blocks, consensus, SQLite with durable commits, one replica, every vote for
  finality, the metagraph, and what the driver tells of an epoch.
* simulated: time at hosts, drawn from calls that a network recorded (`benchmarks/latencies.py`); peers that are slow,
  hang, raise errors or kill their hosts; hosts that die; the driver's own time for each call.
* left out: Ray, models, training, the valuation of answers (`benchmarks/value.py` has it), the other replicas, which do
  the same on machines of their own.

Each size runs in a process of its own, the largest beside the others. Run:
`python -m benchmarks.scale --peers 1000 --validators 16 --epochs 3 --json` for one size,
`python -m benchmarks.scale --sweep` for all and the record.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import msgspec  # noqa: E402

from benchmarks.record import write_record  # noqa: E402
from benchmarks.simulate.exponents import exponents_of  # noqa: E402
from benchmarks.simulate.latencies import read_latencies  # noqa: E402
from benchmarks.simulate.network import EpochFacts, Size, simulated  # noqa: E402

ROOT = Path(__file__).parents[1]
SIZES = (Size(100, 16), Size(1000, 16), Size(10_000, 16), Size(1000, 4), Size(1000, 64), Size(1000, 128))
LARGEST = Size(10_000, 128)
EPOCHS = 3


def measure(size: Size, epochs: int, seed: int) -> dict[str, Any]:
    """Some epochs of one size; a step's figure is the median of its epochs after the first."""
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="taoray-scale-", dir=os.environ.get("TMPDIR")) as folder,
        simulated(size, Path(folder), read_latencies(), seed) as network,
    ):
        found: list[EpochFacts] = []
        for epoch in range(1, epochs + 1):
            found.append(network.epoch(epoch))
            print(f"{size}: epoch {epoch} after {time.perf_counter() - began:.0f} s", file=sys.stderr)
    settled = found[1:] or found
    return {
        "size": msgspec.to_builtins(size) | {"hosts": size.hosts},
        "seconds": {step: median(facts.seconds[step] for facts in settled) for step in settled[0].seconds},
        "cpu_s": {step: median(facts.cpu_s[step] for facts in settled) for step in settled[0].cpu_s},
        "size_bytes": {name: median(facts.size_bytes[name] for facts in settled) for name in settled[0].size_bytes},
        "longest_commit_s": max(facts.commits_s["longest"] for facts in found),
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "epochs": [msgspec.to_builtins(facts) for facts in found],
    }


def measure_apart(size: Size, epochs: int, seed: int) -> dict[str, Any]:
    """The same in a process of its own, so that its memory is its own."""
    arguments = ["--peers", str(size.peers), "--validators", str(size.validators), "--windows", str(size.windows)]
    command = [sys.executable, "-m", "benchmarks.scale", *arguments, "--epochs", str(epochs), "--seed", str(seed)]
    done = subprocess.run([*command, "--json"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """One size to standard output, or all of them into the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--validators", type=int, default=16)
    parser.add_argument("--windows", type=int, default=Size(1, 1).windows, help="of each validator")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the last line is one JSON document")
    parser.add_argument("--sweep", action="store_true", help="all sizes, and the record")
    parser.add_argument("--runs", type=Path, nargs="*", help="documents of single sizes: make the record of these")
    parser.add_argument("--name", default="scale", help="of the record")
    arguments = parser.parse_args()
    if not (arguments.sweep or arguments.runs):
        size = Size(arguments.peers, arguments.validators, arguments.windows)
        measured = measure(size, arguments.epochs, arguments.seed)
        print(json.dumps(measured) if arguments.json else json.dumps(measured, indent=1))
        return
    if arguments.runs:
        runs = [json.loads(path.read_text(encoding="utf-8").splitlines()[-1]) for path in arguments.runs]
    else:
        with ThreadPoolExecutor(2) as pool:
            # The largest takes as long as all the others together.
            largest = pool.submit(measure_apart, LARGEST, arguments.epochs, arguments.seed)
            rest = pool.submit(lambda: [measure_apart(size, arguments.epochs, arguments.seed) for size in SIZES])
            runs = [*rest.result(), largest.result()]
    configuration = {"epochs": [len(run["epochs"]) for run in runs], "seed": arguments.seed}
    write_record(arguments.name, configuration, {"runs": runs, "exponents": exponents_of(runs)})


if __name__ == "__main__":
    main()

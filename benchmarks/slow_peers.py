"""What do slow, frozen and flapping peers, validators and keepers cost, and whom?

A small network on Ray (three validators, four peers, two hosts) runs three epochs in peace. Its home is then copied for
each case, so that every case begins with the same ledger, the same versions and the same seeds: in the next epoch the
validators draw the same windows and the peers train the same versions, and whatever differs in the votes is the case's
doing. Each case runs one or more epochs and is compared with the epoch that it should equal:

* slow but in time, a host or validator that is frozen, flapping or killed: with `clean`, everybody's pay to the RAO;
* too slow: with the same peer's being `absent` (each call for it fails at once), the others' pay to the RAO.

A process is frozen by SIGSTOP in the middle of its work. Where peers and hosts are slow the query phase keeps
`deadlines.query_s`; where a validator or the keeper is, the epoch is longer than a clean one by no more than the search
for who is frozen, or their deadline, allows.

What bounds it: one machine; a busy one makes all seconds longer.

Run: `python -m benchmarks.slow_peers [--json] [--only CASE ...] [--keep FOLDER]`. What is in the folder already is not
run again, so the cases can be run in several calls.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # before ray is imported: as any network here
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by itself Ray lets workers wait for all else on the machine
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

import torch  # noqa: E402

from actors.pulse import FROZEN_S, QUIET_S  # noqa: E402
from benchmarks.freezing import Freezer, Trouble  # noqa: E402
from benchmarks.record import write_record  # noqa: E402
from benchmarks.slow_host import SLOW, SlowHost  # noqa: E402
from cluster.config import Network, load_network  # noqa: E402
from cluster.driver import run_network  # noqa: E402
from cluster.errors import ClusterError  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.report import EpochRecord  # noqa: E402

NETWORK = ROOT / "tests" / "cluster" / "tiny.toml"
PACKAGES = ("asyncio", "email", "encodings", "idlelib", "unittest")
"""Of the standard library, for text: a second to prepare."""
TASK_S, QUERY_S, VALIDATOR_S = 12.0, 120.0, 150.0
OVERRIDES = (f"deadlines.task_s={TASK_S}", f"deadlines.query_s={QUERY_S}", f"deadlines.validator_s={VALIDATOR_S}")
BEFORE = 3
"""Epochs in peace, after which votes carry weight."""
FROZEN = QUIET_S + FROZEN_S + 30.0
"""Until a frozen process is found, ended and back."""


@dataclass(frozen=True)
class Case:
    """What is done to the network.

    Attributes:
        slow: by peer, what its calls are like (`slow_host`). trouble: what happens to a process.
        epochs: how many are run. like: the case whose first epoch pays the same.
        bound_s: how much longer than `clean` an epoch may take; None: its query phase keeps `query_s`.
        out: whose pay is not compared.
    """

    slow: dict[str, dict[str, Any]] = field(default_factory=dict)
    trouble: Trouble | None = None
    epochs: int = 1
    like: str = "clean"
    bound_s: float | None = None
    out: str = ""


CASES = {
    "clean": Case(like=""),
    "absent": Case(slow={"grace": {"fails": True}}, like=""),
    "absent in a stack": Case(slow={"echo": {"fails": True}}, like=""),
    "twice as slow": Case(slow={"grace": {"factor": 2.0}}),
    "ten times as slow": Case(slow={"grace": {"factor": 10.0}}),
    "too slow": Case(slow={"grace": {"seconds": 3 * TASK_S}}, like="absent", out="grace"),
    "too slow in a stack": Case(slow={"echo": {"seconds": 3 * TASK_S}}, like="absent in a stack", out="echo"),
    "host frozen for 10 s": Case(trouble=Trouble("host-0", "asking", "stop", then_s=10.0)),
    "host frozen": Case(trouble=Trouble("host-0", "asking", "stop")),
    "host flapping": Case(trouble=Trouble("host-0", "asking", "kill"), epochs=3),
    "validator slow": Case(trouble=Trouble("viola", "valuing the answers", "stutter"), bound_s=VALIDATOR_S),
    "validator frozen": Case(trouble=Trouble("viola", "valuing the answers", "stop"), bound_s=FROZEN),
    "validator frozen for good": Case(
        trouble=Trouble("viola", "opening the epoch", "stop", again=True), like="", bound_s=6 * VALIDATOR_S
    ),
    "keeper frozen": Case(trouble=Trouble("keeper", "valuing the answers", "stop"), bound_s=FROZEN),
}


def network() -> Network:
    """The configuration of all cases."""
    text = [str(Path(sysconfig.get_path("stdlib")) / name) for name in PACKAGES]
    return load_network(NETWORK, [f"data.paths={text}", *OVERRIDES])


def run_case(case: Case, peace: Path, folder: Path) -> dict[str, Any]:
    """Run a case on a copy of the home, and say what its epochs were like."""
    shutil.copytree(peace, folder)
    (folder / SLOW).write_text(json.dumps(case.slow))
    freezer = Freezer(case.trouble)
    began, error = time.monotonic(), ""
    try:
        run_network(network(), Home(folder), epochs=case.epochs, address="local", show=freezer, host_class=SlowHost)
    except ClusterError as stopped:
        error = str(stopped)
    finally:
        freezer.end()
    return {
        "seconds": [round(sum(_seconds(record)), 1) for record in freezer.records],
        "query_s": [round(record.seconds.query, 1) for record in freezer.records],
        "wall_s": round(time.monotonic() - began, 1),
        "pay_rao": [{neuron.name: neuron.emission_rao for neuron in record.neurons} for record in freezer.records],
        "not_ok": [
            {neuron.name: f"{neuron.status}: {neuron.reason}" for neuron in record.neurons if neuron.status != "ok"}
            for record in freezer.records
        ],
        "troubled": freezer.troubled,
        "notes": freezer.notes[:12],
        "error": error,
    }


def compare(case: Case, found: dict[str, Any], measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether the others are paid as in the case that this one should equal, and the epochs are short enough."""
    phase = "query_s" if case.bound_s is None else "seconds"
    bound_s = QUERY_S if case.bound_s is None else max(measured["clean"]["seconds"]) + case.bound_s
    told: dict[str, Any] = {
        "took_s": max(found[phase], default=0.0),
        "bound_s": round(bound_s, 1),
        "in_time": not found["error"]
        and len(found["seconds"]) == case.epochs
        and len(found["troubled"]) >= (case.trouble is not None)
        and all(seconds <= bound_s for seconds in found[phase]),
    }
    if case.like:
        own, other = found["pay_rao"][:1], measured[case.like]["pay_rao"][:1]
        differences = {
            name: own[0].get(name, 0) - pay_rao
            for name, pay_rao in (other[0] if own and other else {}).items()
            if name != case.out and own[0].get(name, 0) != pay_rao
        }
        told |= {"like": case.like, "paid_alike": bool(own) and not differences, "differences_rao": differences}
    return told


def _seconds(record: EpochRecord) -> tuple[float, ...]:
    return record.seconds.train, record.seconds.query, record.seconds.value, record.seconds.close


def run_cases(wanted: set[str], folder: Path, *, tell: bool) -> dict[str, dict[str, Any]]:
    """Run what was not run before in this folder, each case on a copy of the network after its epochs in peace."""
    peace, kept = folder / "peace", folder / "measured.json"
    if not kept.exists():
        shutil.rmtree(peace, ignore_errors=True)
        run_network(network(), Home(peace), epochs=BEFORE, address="local", host_class=SlowHost)
        kept.write_text("{}")
    measured: dict[str, dict[str, Any]] = json.loads(kept.read_text())
    for name, case in CASES.items():
        if name not in wanted or name in measured:
            continue
        own = folder / name.replace(" ", "-")
        shutil.rmtree(own, ignore_errors=True)
        found = run_case(case, peace, own)
        measured[name] = found
        kept.write_text(json.dumps(measured))
        if tell:
            print(name, json.dumps(found), file=sys.stderr, flush=True)
    return {name: {**found, **compare(CASES[name], found, measured)} for name, found in measured.items()}


def main() -> None:
    """Run the cases and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES), help="and what they are like")
    parser.add_argument("--keep", type=Path, help="the folder to run in, which stays")
    parser.add_argument("--json", action="store_true", help="nothing but the record on standard output")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="slow-peers-"))
    wanted = {*arguments.only, "clean", *(CASES[name].like for name in arguments.only if CASES[name].like)}
    try:
        measured = run_cases(wanted, folder, tell=not arguments.json)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    failed = [name for name, told in measured.items() if not told["in_time"] or not told.get("paid_alike", True)]
    write_record("slow_peers", {"overrides": OVERRIDES, "before": BEFORE}, {"failed": failed, "cases": measured})


if __name__ == "__main__":
    main()

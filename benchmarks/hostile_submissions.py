"""Hostile and broken submissions into a running network: whether each is refused with its own code, what that costs the
process that serves, and whether the network goes on as if nobody had come.

What bounds it: a folder whose files lie is refused in milliseconds; one that has to be loaded costs a process with
PyTorch and transformers, about 5 s of one core, so the number of those decides how long a run takes.

Each folder is a good model that was changed in one way (tests/models/intake/hostile.py, speaking.py). Some are refused
by the client, which checks names and sizes before it sends anything; the others are uploaded over HTTP, checked by the
network, and refused there. Meanwhile the network closes epochs. At the end the store holds what the ledger names and no
byte else, nothing is left of any upload, and no neuron was registered.

Run: `python benchmarks/hostile_submissions.py`.
"""

import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from msgspec.structs import asdict  # noqa: E402
from record import summarize, write_record  # noqa: E402
from submissions_world import Driver, check_agreement, descendants  # noqa: E402

import taoray  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.serve.client import UrlDoor  # noqa: E402
from ledger.wallet import Wallet  # noqa: E402
from models.errors import ModelRefused  # noqa: E402
from models.intake.quotas import Quotas  # noqa: E402
from tests.models.intake.architectures import make  # noqa: E402
from tests.models.intake.building import Change  # noqa: E402
from tests.models.intake.hostile import CONFIGURED, HEADED, LISTED  # noqa: E402
from tests.models.intake.speaking import REFUSED, large, never_done, tokenised  # noqa: E402

QUOTAS = Quotas(mib=128, files=12, layers=8, width=8192, context_tokens=4096, rank=8, trial_mib=128, trial_s=20)
OVER_A_BASE = "an adapter of"
"""Cases that need a base in the store, left to the tests."""
LIMITS = {
    "58 million parameters in 128 MiB": ("out_of_memory", large),
    "an expression without an end": ("out_of_time", tokenised(never_done)),
}
WHOLE_NETWORK = {"17 MiB", "too many numbers"}
"""Cases of smaller quotas than these."""


def main() -> None:
    """One network, all folders, and the record."""
    with tempfile.TemporaryDirectory() as folder:
        measured = offer_all(Path(folder))
    print(write_record("hostile_submissions", {"quotas": asdict(QUOTAS)}, measured), file=sys.stderr)


def cases() -> Iterator[tuple[str, str, Change]]:
    """Every hostile folder: what it is, its code, and how a good one becomes it."""
    for table in (LISTED, CONFIGURED, HEADED, REFUSED, LIMITS):
        for case, (code, change) in table.items():
            if not case.startswith(OVER_A_BASE) and case not in WHOLE_NETWORK:
                yield case, code, change


def offer_all(folder: Path) -> dict[str, Any]:
    """Offer every folder to one running network, by a key that pays for nothing of it."""
    good = make("llama", folder / "good")
    port = free_port()
    settings = {f"submissions__{name}": str(value) for name, value in asdict(QUOTAS).items()}
    settings["serve__requests_per_minute"] = "100000"
    driver = Driver(folder / "home", serve__port=str(port), **settings)
    driver.start()
    try:
        driver.wait_for_epoch(1)
        holder = taoray.status(driver.home).holder
        assert holder is not None
        server = holder.process
        before_mib, epochs_before = resident_mib(server, "VmHWM"), taoray.status(driver.home).epoch
        payer = Wallet.open(Home(driver.home).wallets, "generalist").hotkey()
        with Watch(server) as watch:
            door = UrlDoor(f"http://127.0.0.1:{port}")
            found = {
                f"{code}: {case}": offer(door, folder, good, code, change, payer) for case, code, change in cases()
            }
        after_mib, epochs_after = resident_mib(server, "VmHWM"), taoray.status(driver.home).epoch
        driver.wait_for_epoch(epochs_after + 1)
        left = sorted(path.name for path in Home(driver.home).uploads.rglob("files"))
    finally:
        driver.stop()
    wrong = {case: result for case, result in found.items() if result["code"] != result["expected"]}
    ending = Driver(driver.home, storage__keep_unused_s="0")
    ending.start(epochs=1)
    assert ending.finish() == 0
    agreement = check_agreement(driver.home)
    assert not wrong, wrong
    assert not left, left
    assert agreement["neurons"] == 6, "somebody was registered"
    return {
        "folders": len(found),
        "refused_with_their_own_code": len(found) - len(wrong),
        "codes": len({result["code"] for result in found.values()}),
        "seconds": summarize([result["seconds"] for result in found.values()]),
        "server_grew_mib": after_mib - before_mib,
        "largest_trial_mib": watch.most_mib,
        "epochs_meanwhile": epochs_after - epochs_before,
        "agreement": agreement,
        "cases": found,
    }


def offer(door: UrlDoor, folder: Path, good: Path, code: str, change: Change, payer: Any) -> dict[str, Any]:
    """What a network says of one folder, and after how many seconds."""
    model = folder / "offered"
    shutil.copytree(good, model)
    change(model)
    began = perf_counter()
    try:
        door.deliver(model, payer, lambda done, of: None)
        said = "accepted"
    except ModelRefused as refusal:
        said = refusal.code
    seconds = perf_counter() - began
    (shutil.rmtree if model.is_dir() else Path.unlink)(model)
    print(f"{code}: {said}, {seconds:.2f} s", file=sys.stderr, flush=True)
    return {"expected": code, "code": said, "seconds": seconds}


class Watch:
    """Looks at the trials that a process starts: the most memory that one has."""

    def __init__(self, process: int) -> None:
        self.most_mib = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            for process in descendants(self._process):
                try:
                    if b"models.intake.trial" in Path(f"/proc/{process}/cmdline").read_bytes():
                        self.most_mib = max(self.most_mib, resident_mib(process, "VmHWM"))
                except OSError:
                    continue


def resident_mib(process: int, name: str) -> int:
    """A size of a process in MiB, as Linux tells it; 0 where it has none any more."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    return 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()

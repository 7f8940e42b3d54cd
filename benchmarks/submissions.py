"""Models submitted into a running network: whether each is valued in the next epoch, and whether ledger, store and
running peers agree after twenty submissions, versions and withdrawals with a kill -9 in between.

What bounds it: a submission costs a process that loads PyTorch and transformers for the trial (about 5 s of one core),
then waits for the next open block, so an epoch at most. Nothing is asserted about time; what is measured is told.

* architectures: tiny random models, saved by transformers itself, submitted one after another by `taoray submit` while
  the network runs; each has to be in the record of the epoch that its document names, answered and measured.
* changes: new peers, new versions and withdrawals at seeded moments of epochs, and after half of them kill -9 of the
  driver with all of Ray's processes, right after something was queued; the same command then goes on. At the end the
  ledger is derived again, every neuron stands for what was asked last, the store holds the versions that the ledger
  names and no byte else, each of them loads, and the last record's answers are those of the ledger's versions.

Run: `python benchmarks/submissions.py [--changes 20] [--kinds llama ...] [--seed 0]`.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from record import summarize, write_record  # noqa: E402
from submissions_world import Driver, check_agreement  # noqa: E402

import taoray  # noqa: E402
from tests.models.intake.architectures import KINDS, make  # noqa: E402


def main() -> None:
    """Both parts, and the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured: dict[str, Any] = {}
        if told.kinds:
            measured["architectures"] = submit_architectures(Path(folder), told.kinds)
        if told.changes:
            measured["changes"] = change_often(Path(folder), told.changes, told.seed)
    configuration = {"kinds": told.kinds, "changes": told.changes, "seed": told.seed}
    print(write_record("submissions", configuration, measured), file=sys.stderr)


def submit_architectures(folder: Path, kinds: list[str]) -> dict[str, Any]:
    """Every kind by the command line into one running network; what the next epoch's record says of each."""
    driver = Driver(folder / "architectures")
    driver.start()
    try:
        driver.wait_for_epoch(1)
        documents, seconds = {}, []
        for seed, kind in enumerate(kinds):
            model = make(kind, folder / "models" / kind.replace("_", "-"), seed)
            began = time.perf_counter()
            documents[kind] = command("submit", str(model), "--home", str(driver.home), "--wait", "0")
            seconds.append(time.perf_counter() - began)
            tell(f"{kind} is queued, epoch {documents[kind]['valued_epoch']}")
        names = {document["name"] for document in documents.values()}
        driver.wait_for(lambda: names <= set(taoray.metagraph(driver.home)["name"].to_pylist()))
        named = [row for row in taoray.metagraph(driver.home).to_pylist() if row["name"] in names]
        driver.wait_for_epoch(max(row["published_epoch"] for row in named))
    finally:
        driver.stop()
    rows = {row["name"]: row for row in named}
    records = {record.epoch: record for record in taoray.epochs(driver.home)}
    results = {}
    for kind, document in documents.items():
        row = rows[document["name"]]
        neuron = records[row["published_epoch"]].neurons[row["uid"]]
        results[kind] = {
            "uid": row["uid"],
            "said_epoch": document["valued_epoch"],
            "valued_epoch": row["published_epoch"],
            "bits_per_byte": neuron.bits_per_byte,
            "new_bits": neuron.new_bits,
            "status": neuron.status,
        }
    valued = [kind for kind, found in results.items() if found["status"] == "ok" and found["bits_per_byte"] is not None]
    return {
        "valued_in_the_next_epoch": len(valued),
        "of": len(kinds),
        "epochs": len(records),
        "submit_s": summarize(seconds),
        "peers": results,
    }


def change_often(folder: Path, changes: int, seed: int) -> dict[str, Any]:
    """New peers, versions and withdrawals while epochs go on, a kill -9 in between, and what agrees at the end."""
    draw = random.Random(seed)
    driver = Driver(folder / "changes")
    driver.start()
    expected: dict[str, str | None] = {}
    done: list[str] = []
    try:
        driver.wait_for_epoch(1)
        for index in range(changes):
            time.sleep(draw.uniform(0.0, 6.0))
            standing = [name for name, manifest in expected.items() if manifest is not None]
            kind = draw.choice(["submit", "version", "withdraw"]) if standing else "submit"
            if kind == "withdraw":
                name = draw.choice(standing)
                taoray.withdraw(name, home=driver.home, wait_s=0)
                expected[name] = None
            else:
                name = f"peer-{index}" if kind == "submit" else draw.choice(list(expected))
                model = make(draw.choice(("llama", "gpt2", "qwen2")), folder / "versions" / str(index), index)
                expected[name] = taoray.submit(model, name=name, home=driver.home, wait_s=0).manifest
            done.append(f"{kind} {name} in epoch {taoray.status(driver.home).epoch}")
            tell(done[-1])
            if index == changes // 2:
                driver.kill()
                done.append("kill -9")
                tell("kill -9")
                driver.start()
        last = taoray.status(driver.home).epoch + 1
        driver.wait_for_epoch(last)
    finally:
        driver.stop()
    ending = Driver(driver.home, storage__keep_unused_s="0")
    ending.start(epochs=1)
    if code := ending.finish():
        raise RuntimeError(f"the last run ended with {code}: see {driver.home}.log")
    rows = {row["name"]: row["manifest"] for row in taoray.metagraph(driver.home).to_pylist()}
    assert {name: rows[name] for name in expected} == expected, "a neuron does not stand for what was asked last"
    return {"done": done, "agreement": check_agreement(driver.home)}


def command(*words: str) -> dict[str, Any]:
    """The document of a `taoray` command. RuntimeError where it fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "cluster", *words, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    if ended.returncode:
        raise RuntimeError(f"taoray {' '.join(words)} ends with {ended.returncode}: {ended.stderr}")
    document: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return document


def tell(sentence: str) -> None:
    """On standard error."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""What counts as growth, what is measured of a home and of processes, and what a case of slow peers must equal."""

import os
import random
import subprocess
import sys
from pathlib import Path

from benchmarks.slow_peers import CASES, QUERY_S, Case, compare
from benchmarks.soak import EXPLAINED
from benchmarks.soak_measure import grows, home_series, process_series, trend


def noisy(slope: float, level: float, noise: float, count: int = 400) -> list[float]:
    chance = random.Random(7)
    return [level + slope * index + chance.gauss(0, noise) for index in range(count)]


def test_a_growth_is_told_from_noise_and_has_its_slope() -> None:
    slope, error = trend(noisy(2.0, 1000.0, 20.0))
    assert abs(slope - 2.0) < 3 * error < 1.0
    assert grows(noisy(2.0, 1000.0, 20.0))
    assert not grows(noisy(0.0, 1000.0, 20.0))
    assert not grows(noisy(-2.0, 3000.0, 20.0))
    assert not grows([5.0] * 400)


def test_what_filled_up_in_the_first_half_does_not_grow() -> None:
    assert not grows([min(index, 100) * 10.0 for index in range(400)])


def test_a_home_is_measured_folder_by_folder_and_databases_apart(tmp_path: Path) -> None:
    for name, size in (
        ("ledger/chain.db", 10),
        ("ledger/chain.db-wal", 20),
        ("ledger/metagraph/epoch=000001.parquet", 3),
        ("validators/vera/replica.db", 5),
        ("validators/victor/replica.db", 6),
        ("validators/vera/ballots/000001", 7),
        ("evidence/000001/aa.evidence", 8),
        ("epochs.jsonl", 9),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    found = home_series(tmp_path)
    assert {name: value for name, value in found.items() if name.endswith("_bytes")} == {
        "home ledger/chain.db_bytes": 10,
        "home ledger/chain.db-wal_bytes": 20,
        "home ledger/metagraph_bytes": 3,
        "home validators/*/replica.db_bytes": 11,
        "home validators/*/ballots_bytes": 7,
        "home evidence_bytes": 8,
        "home epochs.jsonl_bytes": 9,
    }
    assert all(any(name.startswith(start) for start in EXPLAINED) for name in found)


def test_a_tree_of_processes_is_measured_by_what_they_are() -> None:
    child = "import ctypes, time; held = bytearray(50_000_000); print(flush=True); time.sleep(60)"
    name = "import os, sys; os.execv(sys.executable, ['ray::Keeper', '-c', sys.argv[1]])"
    with subprocess.Popen([sys.executable, "-c", name, child], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            found = process_series()
        finally:
            process.kill()
    assert found["keeper memory_bytes"] > 50_000_000
    assert found["keeper threads"] == 1
    assert found["driver files"] >= len(os.listdir("/proc/self/fd")) - 8
    assert "host 1 memory_bytes" not in found


def found(seconds: float, pay: dict[str, int]) -> dict:
    return {"seconds": [seconds], "query_s": [seconds / 2], "pay_rao": [pay], "troubled": [], "error": ""}


def test_a_case_is_compared_to_the_rao_and_to_its_bound() -> None:
    clean = found(10.0, {"ada": 5, "grace": 7, "vera": 9})
    case = Case(bound_s=30.0)
    assert compare(case, found(39.0, clean["pay_rao"][0]), {"clean": clean})["in_time"]
    late = compare(case, found(41.0, {"ada": 5, "grace": 6, "vera": 9}), {"clean": clean})
    assert not late["in_time"]
    assert not late["paid_alike"]
    assert late["differences_rao"] == {"grace": -1}
    apart = compare(Case(out="grace"), found(10.0, {"ada": 5, "grace": 0, "vera": 9}), {"clean": clean})
    assert apart["paid_alike"]
    assert compare(Case(), found(2 * QUERY_S, clean["pay_rao"][0]), {"clean": clean})["in_time"]
    assert not compare(Case(), found(2 * QUERY_S + 1, clean["pay_rao"][0]), {"clean": clean})["in_time"]
    ended = {"seconds": [], "query_s": [], "pay_rao": [], "troubled": [], "error": "ended"}
    assert not compare(case, ended, {"clean": clean})["in_time"]


def test_every_case_equals_one_that_is_run_before_it() -> None:
    names = list(CASES)
    assert all(names.index(case.like) < names.index(name) for name, case in CASES.items() if case.like)

"""Two nodes, one disk each: host, keeper, validator, node and driver are killed one after another, and nothing is lost.

A share of benchmarks/chaos.py, in a fixed order.
"""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import taoray
from benchmarks.chaos import BLOCKS, Chaos
from benchmarks.chaos_kills import DRIVER, NODE_LOST
from benchmarks.chaos_nodes import Nodes, running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

EPOCH_RAO = 360 * 10**9


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Ray's sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def _refused(chaos: Chaos, nodes: Nodes) -> str:
    """What a second driver on the same home says, which has to end by itself."""
    done = subprocess.run(
        chaos.launch.command(1), env=nodes.environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_nothing_is_lost_when_everything_is_killed(folder: Path) -> None:
    with running(Nodes(folder), ["worker"]) as nodes:
        chaos = Chaos(nodes, random.Random(7), longest_s=0.0)
        try:
            for kind in ("host", "keeper", "validator", NODE_LOST, DRIVER):
                chaos.wait_for_block()
                if kind == DRIVER:
                    assert f"process {chaos.launch.pid} on" in _refused(chaos, nodes)
                chaos.kill(kind)
            assert chaos.tally.kills.total() == 5
            final = dict(chaos.observer.final)
            chaos.finish()
            _forget_last_record(chaos.home.epochs)
            chaos.finish()
        finally:
            chaos.launch.stop()
        found = chaos.findings()
        assert found["faults"] == []
        assert final.items() <= chaos.observer.final.items()
        assert found["blocks"] == BLOCKS * found["epochs"] >= 2 * BLOCKS
        assert found["minted_rao"] == found["epochs"] * EPOCH_RAO
        verified = taoray.verify(chaos.home.folder)
        assert (verified.height, verified.final_height) == (found["blocks"], found["blocks"])
        assert taoray.status(chaos.home.folder).supply.minted_rao == found["minted_rao"]
    assert not [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _below(folder, pid)]


def _forget_last_record(epochs: Path) -> None:
    """As a driver leaves it that is killed after a close block and before its record."""
    lines = epochs.read_bytes().splitlines(keepends=True)
    epochs.write_bytes(b"".join(lines[:-1]))


def _below(folder: Path, pid: int) -> bool:
    """Whether a process was started with a path in a folder, as all of Ray's own are."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False

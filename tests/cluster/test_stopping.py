"""Stopping a driver on this machine: the one that holds the lease, by its process, and nobody else."""

import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import taoray
from cluster.errors import ClusterError, NoAnswer
from cluster.home import Home
from cluster.lease import hold_lease
from cluster.stopping import stop_driver

DRIVER = """
import signal, sys, time
from pathlib import Path
from cluster.lease import hold_lease
signal.signal(signal.SIGTERM, (lambda *_: None) if sys.argv[2] == "deaf" else (lambda *_: sys.exit(0)))
with hold_lease(Path(sys.argv[1])):
    print("held", flush=True)
    while True:
        time.sleep(0.05)
"""


def driver(home: Path, kind: str) -> "subprocess.Popen[str]":
    """A process that holds the lease."""
    command = [sys.executable, "-c", DRIVER, str(Home(home).lease), kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_driver_ends_and_gives_its_lease_back(tmp_path: Path) -> None:
    assert taoray.stop(tmp_path) is None, "nobody drives it"
    with driver(tmp_path, "obedient") as process:
        holder = taoray.stop(tmp_path)
        assert holder is not None
        assert holder.process == process.pid
        assert process.wait(30) == 0
    assert taoray.stop(tmp_path) is None
    with hold_lease(Home(tmp_path).lease):
        pass


def test_one_that_goes_on_is_named(tmp_path: Path) -> None:
    with driver(tmp_path, "deaf") as process:
        try:
            with pytest.raises(NoAnswer, match=f"process {process.pid} on"):
                stop_driver(Home(tmp_path), deadline_s=0.3)
        finally:
            process.kill()


def test_a_dead_drivers_number_is_nobodys(tmp_path: Path) -> None:
    """Its row is still in force, and another process has the number by now."""
    with hold_lease(Home(tmp_path).lease):
        pass
    with subprocess.Popen(["sleep", "60"]) as other:
        with sqlite3.connect(Home(tmp_path).lease) as database:
            row = (socket.gethostname(), other.pid, time.time() + 60)
            database.execute("INSERT INTO lease VALUES (?, ?, ?)", row)
        assert stop_driver(Home(tmp_path)) is None
        assert other.poll() is None
        other.terminate()


def test_one_on_another_machine_is_named(tmp_path: Path) -> None:
    with hold_lease(Home(tmp_path).lease):
        pass
    with sqlite3.connect(Home(tmp_path).lease) as database:
        database.execute("INSERT INTO lease VALUES ('far', 77, ?)", (time.time() + 60,))
    with pytest.raises(ClusterError, match="process 77 on far"):
        stop_driver(Home(tmp_path))

"""The lease: one driver a home, a dead holder is known, a live one is named."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cluster.errors import HomeInUse
from cluster.lease import hold_lease, read_holder

SPAWN = multiprocessing.get_context("spawn")


def _hold_until_told(path: Path, pipe: Connection) -> None:
    with hold_lease(path):
        pipe.send("held")
        pipe.recv()


def _write_holder(path: Path, machine: str, until: float) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE lease (machine TEXT, process INTEGER, until REAL)")
        database.execute("INSERT INTO lease VALUES (?, 1, ?)", (machine, until))


def test_second_holder_is_refused_and_told_who_holds(tmp_path: Path) -> None:
    path = tmp_path / "driver.db"
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=_hold_until_told, args=(path, theirs))
    child.start()
    assert ours.recv() == "held"
    with pytest.raises(HomeInUse, match=f"process {child.pid} on {socket.gethostname()}"), hold_lease(path):
        pass
    ours.send("end")
    child.join()
    assert read_holder(path) is None
    with hold_lease(path):
        holder = read_holder(path)
        assert holder is not None
        assert holder.process == os.getpid()


def test_holder_that_was_killed_is_followed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "driver.db"
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=_hold_until_told, args=(path, theirs))
    child.start()
    assert ours.recv() == "held"
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert read_holder(path) is not None, "its row is still there"
    with hold_lease(path):
        holder = read_holder(path)
        assert holder is not None
        assert holder.process == os.getpid()


def test_dead_holder_on_another_machine_is_waited_out(tmp_path: Path) -> None:
    path = tmp_path / "driver.db"
    _write_holder(path, "elsewhere", time.time() + 0.3)
    told: list[str] = []
    with hold_lease(path, tell=told.append):
        holder = read_holder(path)
        assert holder is not None
        assert holder.machine == socket.gethostname()
    assert len(told) == 1
    assert "process 1 on elsewhere" in told[0]


def test_live_holder_on_another_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "driver.db"
    _write_holder(path, "elsewhere", time.time() + 0.5)

    def renew(sentence: str) -> None:
        with sqlite3.connect(path) as database:
            database.execute("UPDATE lease SET until = ?", (time.time() + 60,))

    with pytest.raises(HomeInUse, match="process 1 on elsewhere"), hold_lease(path, tell=renew):
        pass


def test_lease_that_was_taken_away_is_known_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.lease.RENEW_S", 0.05)
    path = tmp_path / "driver.db"
    with hold_lease(path) as lease:
        assert not lease.lost.is_set()
        with sqlite3.connect(path) as database:
            database.execute("UPDATE lease SET machine = 'elsewhere'")
        assert lease.lost.wait(timeout=30)

"""Folders and homes: what cannot be written, what lies elsewhere, what does not open."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from cluster.home import Home
from cluster.lease import hold_lease
from cluster.observe.doctor.check import Check
from cluster.observe.doctor.network import check_home
from cluster.observe.doctor.storage import check_database, check_filesystem, check_storage, existing, filesystem_of


def levels(checks: list[Check]) -> dict[str, str]:
    assert all((check.level == "ok") == (not check.mend) for check in checks)
    return {check.name: check.level for check in checks}


def test_a_folder_that_is_well_is_left_as_it_was(tmp_path: Path) -> None:
    checks = levels(check_storage("home", tmp_path / "not" / "there", database=True, network=True))
    assert {name for name, level in checks.items() if level == "bad"} == set()
    assert set(checks) == {f"home.{name}" for name in ("free", "fsync", "lock", "database", "filesystem")}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert levels(check_storage("home", tmp_path / "file" / "home", database=True, network=True)) == {
        "home.writable": "bad"
    }
    assert existing(tmp_path / "a" / "b") == tmp_path


def test_a_database_that_does_not_work(tmp_path: Path) -> None:
    assert check_database("home", tmp_path / "none").level == "bad"
    (tmp_path / "trial.db").write_bytes(b"no database" * 100)
    assert check_database("home", tmp_path).level == "bad"


@pytest.mark.parametrize(
    ("kind", "database", "network", "level"),
    [
        ("ext4", True, True, "ok"),
        ("", True, True, "ok"),
        ("nfs4", True, True, "bad"),
        ("nfs4", False, True, "ok"),
        ("fuse.s3fs", False, False, "bad"),
        ("ext4", True, False, "ok"),
    ],
)
def test_a_filesystem_suits_what_it_is_for(kind: str, database: bool, network: bool, level: str) -> None:
    check = check_filesystem("home", Path("/home"), kind, database=database, network=network)
    assert check.level == level
    assert ("storage.ledger" in check.mend) == (level == "bad" and network)


def test_the_nearest_mount_is_the_one(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    deep = tmp_path / "shared home" / "net"
    deep.mkdir(parents=True)
    named = str(tmp_path / "shared home").replace(" ", "\\040")
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {named} nfs4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n")
    assert filesystem_of(deep, mounts) == "nfs4"
    assert filesystem_of(tmp_path, mounts) == "ext4"
    assert filesystem_of(tmp_path, tmp_path / "none") == ""


def test_a_folder_without_a_network_is_no_fault(tmp_path: Path) -> None:
    assert levels(check_home(Home(tmp_path))) == {"home": "ok"}


def test_a_home_that_opens(home: Path) -> None:
    assert set(levels(check_home(Home(home))).values()) == {"ok"}
    with hold_lease(Home(home).lease):
        driver = next(check for check in check_home(Home(home)) if check.name == "home.driver")
        assert "driven by process" in driver.sentence


@pytest.mark.parametrize(("written", "level"), [(1, "warn"), (99, "bad")])
def test_a_ledger_of_another_format(home: Path, written: int, level: str) -> None:
    with contextlib.closing(sqlite3.connect(Home(home).chain)) as database:
        database.execute(f"PRAGMA user_version = {written}")
        database.commit()
    assert levels(check_home(Home(home)))["home.format"] == level


def test_a_damaged_ledger(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(Home(home).chain)) as database, database:
        database.execute("UPDATE state SET value = x'00' WHERE key = (SELECT min(key) FROM state)")
    assert levels(check_home(Home(home)))["home.ledger"] == "bad"


def test_a_file_that_is_no_ledger(home: Path) -> None:
    for path in Home(home).chain.parent.glob("chain.db-*"):
        path.unlink()
    Home(home).chain.write_bytes(b"x" * 5000)
    assert levels(check_home(Home(home)))["home.ledger"] == "bad"


def test_a_ledger_older_than_its_mark(home: Path, tmp_path: Path) -> None:
    mark = next(Home(home).chain.parent.glob("chain.db.head"))
    mark.write_text(mark.read_text().replace('"height":0', '"height":7').replace('"height": 0', '"height": 7'))
    assert levels(check_home(Home(home)))["home.ledger"] == "bad"

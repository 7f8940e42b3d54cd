"""Nodes against each other, a clock against another, and the whole command on this machine."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cluster.observe.doctor.nodes import CLOCK_TRIES, NodeFacts, _look, check_nodes, measure_clock

OWN = {"ray": "2.60.0", "torch": "2.13.0", "taoray": "0.1.0"}
NODE = NodeFacts(node="10.0.0.1", python="3.11.7", packages=OWN, shared_bytes=1 << 34, gpus=2, sees_home=True)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, {}),
        ({"python": "3.11.9"}, {}),
        ({"python": "3.12.1"}, {"python": "bad"}),
        ({"packages": OWN | {"ray": "2.59.0"}}, {"ray": "bad"}),
        ({"packages": OWN | {"torch": ""}}, {"torch": "warn"}),
        ({"packages": OWN | {"taoray": ""}}, {}),
        ({"packages": OWN | {"taoray": "0.2.0"}}, {"taoray": "warn"}),
        ({"offset_s": 40.0, "within_s": 0.01}, {"clock": "bad"}),
        ({"offset_s": -3.0, "within_s": 0.5}, {"clock": "warn"}),
        ({"offset_s": 3.0, "within_s": 2.5}, {}),
        ({"shared_bytes": 64 << 20}, {"shared": "warn"}),
        ({"sees_home": False}, {"home": "bad"}),
        ({"disk": "/disk", "disk_fault": "Permission denied"}, {"disk": "bad"}),
    ],
)
def test_what_is_wrong_with_a_node_is_named(changed: dict[str, Any], wrong: dict[str, str]) -> None:
    node = replace(NODE, node="10.0.0.2", **changed)
    checks = check_nodes([NODE, node], "3.11.7", OWN, "/disk")
    prefix = "node.10.0.0.2."
    found = {check.name.removeprefix(prefix): check.level for check in checks if check.name.startswith(prefix)}
    assert found == wrong
    assert ("cluster.nodes" in {check.name for check in checks}) == ("bad" not in wrong.values())


def test_a_node_that_does_not_answer_is_named() -> None:
    checks = check_nodes([NODE, NodeFacts(node="10.0.0.3", failure="Get timed out")], "3.11.7", OWN, "")
    assert [(check.level, check.name) for check in checks if check.level != "ok"] == [("bad", "node.10.0.0.3")]


def test_a_clock_is_known_as_well_as_its_quickest_answer() -> None:
    waits = iter([0.03, 0.0, 0.03, 0.02, 0.01])

    def ask() -> float:
        time.sleep(next(waits))
        return time.time() + 100.0

    offset_s, within_s = measure_clock(ask)
    assert abs(offset_s - 100.0) <= within_s + 1e-3
    assert within_s < 0.03
    assert next(waits, None) is None
    assert CLOCK_TRIES == 5


def test_what_a_node_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAORAY_DISK", str(tmp_path))
    (tmp_path / "mark").touch()
    (tmp_path / "file").touch()
    said = _look()(str(tmp_path / "mark"), "$TAORAY_DISK/ledger")
    assert (said["sees_home"], said["disk"], said["disk_fault"]) == (True, f"{tmp_path}/ledger", "")
    assert said["packages"]["ray"]
    other = _look()(str(tmp_path / "unseen"), "$TAORAY_DISK/file/ledger")
    assert (other["sees_home"], bool(other["disk_fault"])) == (False, True)
    assert _look()("", "")["sees_home"] is None


def test_the_command_says_what_is_bad_and_exits_with_1(
    run: Callable[..., Any], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.observe.doctor.examine.compute", lambda: {"torch": "2", "cuda": None, "gpus": []})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    well = run("doctor", "--home", str(home), "--json")
    document = json.loads(well.stdout)
    bad = [check["name"] for check in document["checks"] if check["level"] == "bad"]
    assert (well.returncode, document["well"], bad) == (0, True, [])
    assert {"version.python", "gpu", "memory.shared", "clock", "token", "home.fsync", "home.ledger"} <= {
        check["name"] for check in document["checks"]
    }
    (tmp_path / "file").touch()
    broken = run("doctor", "--home", str(tmp_path / "file" / "home"))
    assert broken.returncode == 1
    assert "bad  home.writable" in broken.stdout

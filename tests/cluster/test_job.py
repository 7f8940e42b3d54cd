"""A network as a job on a real cluster with a dashboard and token: launched once, followed, read, stopped, resumed."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import taoray
from cluster.home import Home

pytestmark = pytest.mark.cluster

START_S = 120.0
STEP_S = 180.0

Command = Callable[..., "subprocess.Popen[str]"]


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Path]]:
    """A head with its own token and user's folder; the dashboard's address, and that folder."""
    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        (folder / "token").write_text(os.urandom(32).hex())
        port, dashboard, agent, metrics, client = _free_ports(5)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TAORAY_", "PYTHONPATH"))}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "PATH": path}
        environment |= {"HOME": place, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
        environment["RAY_worker_niceness"] = "0"  # Ray's workers yield to whatever else runs, unless told
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", port]
        command += ["--dashboard-port", dashboard, "--dashboard-agent-listen-port", agent, "--num-cpus", "2"]
        command += ["--metrics-export-port", metrics, "--ray-client-server-port", client, "--temp-dir", f"{place}/r"]
        address = f"http://127.0.0.1:{dashboard}"
        with (folder / "head.log").open("wb") as log:
            head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            told = (folder / "head.log").read_text
            _wait(lambda: "Ray runtime started" in told(), START_S, told)
            yield address, folder
            assert head.poll() is None, told()
        finally:
            head.send_signal(signal.SIGTERM)
            head.wait(30)


def _wait(true: Callable[[], bool], deadline_s: float, why: Callable[[], str]) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, why()
        time.sleep(0.2)


@pytest.fixture
def start(cluster: tuple[str, Path], tmp_path: Path) -> Command:
    """Starts `taoray COMMAND… --address …` in a process with the cluster's token, or another."""
    address, folder = cluster

    def command(*arguments: str, token: str = "") -> "subprocess.Popen[str]":
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TAORAY_"))}
        environment |= {"RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_TOKEN_PATH": str(folder / "token")}
        environment |= {"TAORAY_HOME": str(tmp_path / "not-there"), "PYTHONPATH": str(Path(taoray.__file__).parent)}
        words = [sys.executable, "-m", "cluster", *arguments, "--address", address]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)

    return command


def _ended(process: "subprocess.Popen[str]", code: int) -> tuple[str, str]:
    printed, told = process.communicate(timeout=STEP_S)
    assert process.returncode == code, (printed, told)
    return printed, told


def test_a_network_is_a_job(cluster: tuple[str, Path], start: Command, tiny_toml: Path, small_text: str) -> None:
    home = cluster[1] / "taoray-home" / "tiny"
    options = ("--set", small_text, "--set", "training.steps=4", "--set", "placement.hosts=1", "--json")
    printed, told = _ended(start("launch", str(tiny_toml), "--epochs", "99", "--detach", *options), 0)
    first = json.loads(printed)
    assert (first["job"], first["found"]) == ("taoray-tiny-1", False)
    assert "MiB" in told

    follower = start("launch", str(tiny_toml), "--epochs", "1", *options)
    _wait(lambda: Home(home).chain.exists() and taoray.status(home).height > 0, STEP_S, lambda: f"no block in {home}")
    looking, stranger = start("status", "--json"), start("stop", token="f" * 64)
    standing = json.loads(_ended(looking, 0)[0])
    assert (standing["job"], standing["status"]) == ("taoray-tiny-1", "RUNNING")
    assert standing["standing"]["home"] == str(home)
    assert standing["standing"]["height"] >= 1
    refused, said = _ended(stranger, 1)
    assert "refuses the token of RAY_AUTH_TOKEN" in said
    assert refused == ""

    stopped = json.loads(_ended(start("stop", "--json"), 0)[0])
    assert stopped == {"job": "taoray-tiny-1", "status": "STOPPED", "stopped": True}
    _, followed = _ended(follower, 130)
    assert "taoray-tiny-1 running already" in followed
    assert "opening the epoch" in followed
    reader = start("logs", "--network", "tiny")
    assert taoray.status(home).holder is None, "the driver ended by itself, and gave its lease back"
    before = taoray.verify(home)

    printed, told = _ended(start("launch", str(tiny_toml), *options), 0)
    assert "taoray-tiny-2 launched" in told
    assert "starting the actors" in _ended(reader, 0)[0]
    document = json.loads(printed.splitlines()[-1])
    assert [epoch["epoch"] for epoch in document["epochs"]] == [before.height // 3 + 1]
    assert document["home"] == str(home)
    assert taoray.verify(home).block_hash.hex() == document["block_hash"]

"""`taoray logs`, `stop` and `launch --detach` of a network on this machine, and addresses that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.job import job_address
from cluster.errors import ConfigurationError
from cluster.home import Home
from cluster.observe.log import LogFile, LogLine

Command = Callable[..., Any]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A home with a log of three lines."""
    log = LogFile(Home(tmp_path).log)
    for number in range(3):
        log.write(LogLine(time_s=1.0, level="note", network="tiny", sentence=f"sentence [{number}]", epoch=number))
    return tmp_path


def test_the_log_of_a_home_is_read(run: Command, told: Path) -> None:
    lines = run("logs", "--home", str(told)).stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["sentence [0]", "sentence [1]", "sentence [2]"]
    lines = run("logs", "--home", str(told), "--last", "1", "--json").stdout.splitlines()
    assert [json.loads(line)["sentence"] for line in lines] == ["sentence [2]"]


def test_a_network_on_this_machine_is_named_as_its_home_is(
    run: Command, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAORAY_HOME", raising=False)
    monkeypatch.chdir(told)
    for command in ("stop", "status"):
        done = run(command, "--network", "tiny", "--json")
        assert str(told / "taoray-home" / "tiny") in done.stdout
    stopped = json.loads(run("stop", "--home", str(told), "--json").stdout)
    assert stopped == {"home": str(told), "stopped": False}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("launch", "--detach"), "--address"),
        (("status", "--address", "head:8265"), "http://HOST:8265"),
        (("launch", "--address", "http://127.0.0.1:1", "--set", "query.windows=0"), "query.windows"),
        (("launch", "--address", "http://127.0.0.1:1", "--set", "data.paths=['text']"), "data.paths"),
        (("launch", "--address", "http://127.0.0.1:1", "--home", "here"), "--home"),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(run: Command, command: tuple[str, ...], words: str) -> None:
    done = run(*command)
    assert done.returncode == 2, done
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_cluster_that_is_not_there_is_one_sentence(run: Command) -> None:
    for command in (("launch",), ("status",), ("logs", "--follow"), ("stop",)):
        done = run(*command, "--address", "http://127.0.0.1:1")
        assert done.returncode == 1
        assert "nobody answers at http://127.0.0.1:1" in done.stderr
        assert "ray[default]" in done.stderr, "brackets are no markup"
        assert len(done.stderr.splitlines()) == 1


def test_the_environment_names_a_job_server_or_a_cluster_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert job_address(None) is None
    assert job_address("https://head") == "https://head"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert job_address(None) == "http://head:8265"
    with pytest.raises(ConfigurationError):
        job_address("head:6379")

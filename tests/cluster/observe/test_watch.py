"""`taoray status --watch`: what a look finds, what is shown of it, and when a line is printed."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.cli.watch import changes, looks, screen
from cluster.home import Home
from cluster.lease import hold_lease
from cluster.observe.log import Level, LogFile, LogLine
from cluster.report import EpochRecord, Seconds, append_epoch


def tell(home: Path, level: Level, sentence: str) -> None:
    LogFile(Home(home).log).write(
        LogLine(time_s=100.0, level=level, network="tiny", sentence=sentence, epoch=3, step="query")
    )


def shown(look: Any) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen(look, 142.0))
    return console.export_text()


def test_a_look_shows_what_goes_on(home: Path) -> None:
    tell(home, "info", "asking 4 versions")
    tell(home, "note", "ada is late: no answer")
    record = EpochRecord(
        epoch=2,
        height=6,
        block_hash="ab" * 32,
        collective_bits_per_byte=3.25,
        best_peer_bits_per_byte=None,
        baseline_bits_per_byte=None,
        new_bits=None,
        minted_rao=360 * 10**9,
        to_stake=False,
        final=True,
        seconds=Seconds(query=1, value=1, train=1, close=1),
        neurons=(),
    )
    append_epoch(Home(home).epochs, record)
    resting = shown(next(looks(home)))
    assert "not running" in resting
    assert "asking 4 versions" not in resting, "nobody asks where nobody drives"
    with hold_lease(Home(home).lease):
        text = shown(next(looks(home)))
    assert "epoch 3: asking 4 versions (42 s)" in text
    assert "ada is late: no answer" in text
    assert "3.250" in text
    assert f"driven by process {os.getpid()}" in text


def test_what_cannot_be_read_for_a_moment_is_said(home: Path) -> None:
    waited: list[float] = []
    seen = looks(home, waited.append)
    assert "block 0" in shown(next(seen))
    chain = Home(home).chain
    aside = chain.rename(chain.with_name("aside"))
    assert "cannot be read" in shown(next(seen))
    aside.rename(chain)
    assert "block 0" in shown(next(seen))
    assert waited == [1.0, 1.0]


def test_a_line_is_printed_when_something_changed(home: Path) -> None:
    told = changes(look for look, _ in zip(looks(home, lambda wait_s: None), range(3), strict=False))
    assert next(told)["height"] == 0
    tell(home, "info", "asking 4 versions")
    assert next(told)["doing"]["sentence"] == "asking 4 versions"
    assert list(told) == []


def test_it_ends_on_an_interrupt(run: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(wait_s: float) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("cluster.cli.watch.looks", lambda folder: looks(folder, interrupt))
    for how in ("--json", "--watch"):
        done = run("status", "--watch", how, "--home", str(home))
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["height"] == 0 if how == "--json" else "block 0" in done.stdout


def test_a_folder_without_a_network_is_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("status", "--watch", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "no network" in done.stderr

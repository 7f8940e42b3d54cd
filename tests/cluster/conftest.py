"""The command line in this process, and a home in which nothing has run."""

import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cluster.cli.main import main
from cluster.config import load_network
from cluster.founding import found
from cluster.home import Home


class Done(NamedTuple):
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Runs `taoray` with arguments; `typed` is its standard input."""
    before = signal.getsignal(signal.SIGTERM)

    def command(*arguments: str, typed: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["taoray", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    yield command
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def home(tiny_toml: Path, tmp_path: Path) -> Path:
    """A home with wallets and a genesis, in which nothing has run."""
    folder = tmp_path / "home"
    folder.mkdir()
    found(load_network(tiny_toml), Home(folder))
    return folder

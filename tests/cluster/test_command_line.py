"""The command line: exit codes, one clear line for what is wrong, JSON as the last line, wallets."""

import json
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
from ledger.keys import encode_address


class Done(NamedTuple):
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def taoray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command line, run in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["taoray", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def founded(tiny_toml: Path, tmp_path: Path) -> Path:
    """A home with wallets and a genesis, in which nothing has run."""
    home = tmp_path / "home"
    home.mkdir()
    found(load_network(tiny_toml), Home(home))
    return home


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--set", "query.colour='red'"), 2, ("query", "colour")),
        (("--set", "query.windows='many'"), 2, ("query.windows", "int")),
        (("--set", "peers.0.architecture.kind='perceptron'"), 2, ("peers[0].architecture.kind", "perceptron", "llama")),
        (("--set", "data.paths=['/does/not/exist']"), 1, ("data.paths", "/does/not/exist")),
        (("--set", "data.paths=['{little}']"), 1, ("data.paths",)),
        (("--epochs", "0"), 2, ("--epochs",)),
        (("--nonsense",), 2, ("--nonsense",)),
    ],
)
def test_mistakes_end_before_any_actor_starts(
    taoray: Command, tiny_toml: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    little = tmp_path / "little.txt"
    little.write_text("too little text\n" * 20)
    home = tmp_path / "home"
    told = [option.replace("{little}", str(little)) for option in options]
    done = taoray("launch", str(tiny_toml), "--home", str(home), *told)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "ledger").exists(), "nothing was founded"
    if "error:" in done.stderr:
        assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1


def test_error_is_one_json_document_too(taoray: Command, tiny_toml: Path, tmp_path: Path) -> None:
    done = taoray("launch", str(tiny_toml), "--home", str(tmp_path), "--json", "--set", "query.windows=0")
    assert done.returncode == 2
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["field"] == "query.windows"


def test_commands_name_a_home_without_a_network(taoray: Command, tmp_path: Path) -> None:
    for command in (("status",), ("metagraph",), ("ledger", "verify"), ("ledger", "log"), ("wallet", "list")):
        done = taoray(*command, "--home", str(tmp_path))
        assert done.returncode == 1, done
        assert str(tmp_path) in done.stderr
        assert "Traceback" not in done.stderr


def test_changed_ledger_parameters_are_refused_by_name(taoray: Command, tiny_toml: Path, founded: Path) -> None:
    done = taoray("launch", str(tiny_toml), "--home", str(founded), "--set", "ledger.tempo=10")
    assert done.returncode == 2
    assert "ledger.tempo" in done.stderr


def test_wallets_are_made_listed_and_asked(taoray: Command, founded: Path) -> None:
    made = taoray("wallet", "new", "anna", "--no-password", "--home", str(founded), "--json")
    assert made.returncode == 0, made.stderr
    anna = json.loads(made.stdout)
    assert len(anna["mnemonic"].split()) >= 12
    listed = json.loads(taoray("wallet", "list", "--home", str(founded), "--json").stdout)
    assert {"anna", "operator", "vera", "ada"} <= {row["name"] for row in listed}
    balance = json.loads(taoray("wallet", "balance", "ada", "--home", str(founded), "--json").stdout)
    assert balance["free_rao"] == 10 * 10**9
    assert taoray("wallet", "new", "anna", "--no-password", "--home", str(founded)).returncode == 1
    assert taoray("wallet", "balance", "nobody", "--home", str(founded)).returncode == 1


def test_transfer_is_queued_once_and_checked(taoray: Command, founded: Path) -> None:
    queued = taoray("wallet", "transfer", "operator", "ada", "1.5", "--home", str(founded), "--json")
    assert queued.returncode == 0, queued.stderr
    assert json.loads(queued.stdout)["amount_rao"] == 1_500_000_000
    for wrong in (("operator", "ada", "much"), ("operator", "5Nonsense", "1"), ("nobody", "ada", "1")):
        refused = taoray("wallet", "transfer", *wrong, "--home", str(founded))
        assert refused.returncode in (1, 2), refused
        assert "Traceback" not in refused.stderr


def test_verify_of_a_new_ledger(taoray: Command, founded: Path) -> None:
    document = json.loads(taoray("ledger", "verify", "--home", str(founded), "--json").stdout)
    assert (document["height"], document["epoch"], document["minted_rao"]) == (0, 0, 0)


def test_a_ledger_is_proven_exported_imported_pruned_and_migrated(
    taoray: Command, founded: Path, tmp_path: Path
) -> None:
    at_home = ("--home", str(founded), "--json")
    coldkey = json.loads(taoray("wallet", "balance", "operator", *at_home).stdout)["coldkey"]
    absent = encode_address(bytes(32))
    proof = tmp_path / "proof.json"
    for account, words in ((coldkey, "RAO"), (absent, "no free balance")):
        proof.write_text(taoray("ledger", "prove", "--account", account, "--home", str(founded)).stdout)
        proven = json.loads(taoray("ledger", "check-proof", str(proof), "--json").stdout)
        assert words in proven["statement"]
        assert (proven["height"], proven["final"]) == (0, False)
        trusted = ("--block", proven["block_hash"], "--genesis", proven["genesis_hash"])
        assert taoray("ledger", "check-proof", str(proof), *trusted).returncode == 0
    for refused in (("--final",), ("--block", "00" * 32)):
        assert taoray("ledger", "check-proof", str(proof), *refused).returncode == 1
    for wrong in (("prove",), ("prove", "--extrinsic", "ab"), ("check-proof", str(proof), "--block", "x")):
        assert taoray("ledger", *wrong).returncode == 2
    assert taoray("ledger", "prove", "--extrinsic", "00" * 32, "--home", str(founded)).returncode == 1
    folder, again = tmp_path / "history", tmp_path / "again"
    exported = json.loads(taoray("ledger", "export", "--parquet", str(folder), *at_home).stdout)
    assert exported["rows"] == {"blocks": 1, "extrinsics": 0, "metagraph": 0}
    imported = json.loads(taoray("ledger", "import", str(folder), "--home", str(again), "--json").stdout)
    assert imported["block_hash"] == proven["block_hash"]
    assert taoray("ledger", "import", str(folder), "--home", str(again)).returncode == 1
    assert json.loads(taoray("ledger", "prune", "--keep-epochs", "1", *at_home).stdout) == {"pruned_height": 0}
    assert json.loads(taoray("ledger", "migrate", *at_home).stdout) == {"before": 2, "after": 2}
    assert json.loads(taoray("ledger", "verify", *at_home).stdout)["replayed_from"] == 0

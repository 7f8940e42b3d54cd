"""The command line: exit codes, one clear line for what is wrong, JSON as the last line, wallets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.keys import encode_address

Command = Callable[..., Any]


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
    run: Command, tiny_toml: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    little = tmp_path / "little.txt"
    little.write_text("too little text\n" * 20)
    home = tmp_path / "home"
    told = [option.replace("{little}", str(little)) for option in options]
    done = run("launch", str(tiny_toml), "--home", str(home), *told)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "ledger").exists(), "nothing was home"
    if "error:" in done.stderr:
        assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1


def test_error_is_one_json_document_too(run: Command, tiny_toml: Path, tmp_path: Path) -> None:
    done = run("launch", str(tiny_toml), "--home", str(tmp_path), "--json", "--set", "query.windows=0")
    assert done.returncode == 2
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["field"] == "query.windows"


def test_commands_name_a_home_without_a_network(run: Command, tmp_path: Path) -> None:
    for command in (("status",), ("metagraph",), ("ledger", "verify"), ("ledger", "log"), ("wallet", "list")):
        done = run(*command, "--home", str(tmp_path))
        assert done.returncode == 1, done
        assert str(tmp_path) in done.stderr
        assert "Traceback" not in done.stderr


def test_changed_ledger_parameters_are_refused_by_name(run: Command, tiny_toml: Path, home: Path) -> None:
    done = run("launch", str(tiny_toml), "--home", str(home), "--set", "ledger.tempo=10")
    assert done.returncode == 2
    assert "ledger.tempo" in done.stderr


def test_wallets_are_made_listed_and_asked(run: Command, home: Path) -> None:
    made = run("wallet", "new", "anna", "--no-password", "--home", str(home), "--json")
    assert made.returncode == 0, made.stderr
    anna = json.loads(made.stdout)
    assert len(anna["mnemonic"].split()) >= 12
    listed = json.loads(run("wallet", "list", "--home", str(home), "--json").stdout)
    assert {"anna", "operator", "vera", "ada"} <= {row["name"] for row in listed}
    balance = json.loads(run("wallet", "balance", "ada", "--home", str(home), "--json").stdout)
    assert balance["free_rao"] == 10 * 10**9
    assert run("wallet", "new", "anna", "--no-password", "--home", str(home)).returncode == 1
    assert run("wallet", "balance", "nobody", "--home", str(home)).returncode == 1


def test_transfer_is_queued_once_and_checked(run: Command, home: Path) -> None:
    queued = run("wallet", "transfer", "operator", "ada", "1.5", "--home", str(home), "--json")
    assert queued.returncode == 0, queued.stderr
    assert json.loads(queued.stdout)["amount_rao"] == 1_500_000_000
    for wrong in (("operator", "ada", "much"), ("operator", "5Nonsense", "1"), ("nobody", "ada", "1")):
        refused = run("wallet", "transfer", *wrong, "--home", str(home))
        assert refused.returncode in (1, 2), refused
        assert "Traceback" not in refused.stderr


def test_verify_of_a_new_ledger(run: Command, home: Path) -> None:
    document = json.loads(run("ledger", "verify", "--home", str(home), "--json").stdout)
    assert (document["height"], document["epoch"], document["minted_rao"]) == (0, 0, 0)


def test_a_ledger_is_proven_exported_imported_pruned_and_migrated(run: Command, home: Path, tmp_path: Path) -> None:
    at_home = ("--home", str(home), "--json")
    coldkey = json.loads(run("wallet", "balance", "operator", *at_home).stdout)["coldkey"]
    absent = encode_address(bytes(32))
    proof = tmp_path / "proof.json"
    for account, words in ((coldkey, "RAO"), (absent, "no free balance")):
        proof.write_text(run("ledger", "prove", "--account", account, "--home", str(home)).stdout)
        proven = json.loads(run("ledger", "check-proof", str(proof), "--json").stdout)
        assert words in proven["statement"]
        assert (proven["height"], proven["final"]) == (0, False)
        trusted = ("--block", proven["block_hash"], "--genesis", proven["genesis_hash"])
        assert run("ledger", "check-proof", str(proof), *trusted).returncode == 0
    for refused in (("--final",), ("--block", "00" * 32)):
        assert run("ledger", "check-proof", str(proof), *refused).returncode == 1
    for wrong in (("prove",), ("prove", "--extrinsic", "ab"), ("check-proof", str(proof), "--block", "x")):
        assert run("ledger", *wrong).returncode == 2
    assert run("ledger", "prove", "--extrinsic", "00" * 32, "--home", str(home)).returncode == 1
    folder, again = tmp_path / "history", tmp_path / "again"
    exported = json.loads(run("ledger", "export", "--parquet", str(folder), *at_home).stdout)
    assert exported["rows"] == {"blocks": 1, "extrinsics": 0, "metagraph": 0}
    imported = json.loads(run("ledger", "import", str(folder), "--home", str(again), "--json").stdout)
    assert imported["block_hash"] == proven["block_hash"]
    assert run("ledger", "import", str(folder), "--home", str(again)).returncode == 1
    assert json.loads(run("ledger", "prune", "--keep-epochs", "1", *at_home).stdout) == {"pruned_height": 0}
    assert json.loads(run("ledger", "migrate", *at_home).stdout) == {"before": 2, "after": 2}
    assert json.loads(run("ledger", "verify", *at_home).stdout)["replayed_from"] == 0

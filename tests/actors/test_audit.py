"""The audit of an epoch: evidence, votes and ledger of a network that was played for two epochs."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

import taoray
from cluster.cli.main import main
from cluster.errors import ClusterError
from models.value.evidence import decode_evidence, encode_evidence

pytestmark = pytest.mark.thorough

Tamper = Callable[[Any], Any]


@pytest.fixture
def home(tmp_path: Path, played: Path) -> Path:
    """The played network as a home."""
    folder = tmp_path / "home"
    (folder / "ledger").mkdir(parents=True)
    shutil.copytree(played / "evidence", folder / "evidence")
    for path in played.glob("chain.db*"):
        shutil.copy(path, folder / "ledger" / path.name)
    return folder


def evidence_of(home: Path, name: str, epoch: int = 2) -> Path:
    (audited,) = [one for one in taoray.audit(home, epoch) if one.name == name]
    return home / "evidence" / f"{epoch:06d}" / f"{audited.hotkey}.evidence"


def wrong(home: Path) -> dict[str, tuple[str, ...]]:
    return {one.name: one.differs for one in taoray.audit(home, 2) if one.differs}


def test_every_vote_follows_from_its_evidence(home: Path) -> None:
    for epoch in (1, 2):
        audited = taoray.audit(home, epoch)
        assert {one.name for one in audited} == {"vera", "victor", "viola"}
        assert not [one for one in audited if one.differs]
        assert all(one.votes > 0 for one in audited)
    for epoch in (3, 99):
        with pytest.raises(ClusterError, match="epochs 1 to 2"):
            taoray.audit(home, epoch)


def test_evidence_that_is_gone_or_not_what_was_committed_to_is_named(home: Path) -> None:
    evidence_of(home, "vera").unlink()
    path = evidence_of(home, "viola")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = wrong(home)
    assert set(found) == {"vera", "viola"}
    assert "cannot be read" in found["vera"][0]
    assert "hash" in found["viola"][0]


def change_votes(evidence: Any) -> Any:
    votes = {uid: value // 2 for uid, value in evidence.books.votes.items()}
    return replace(evidence, books=msgspec.structs.replace(evidence.books, votes=votes))


def change_matrix(evidence: Any) -> Any:
    column = evidence.columns["matrix"]
    data = bytearray(column.data)
    data[-4:] = (-1024).to_bytes(4, "little", signed=True)
    return replace(evidence, columns={**evidence.columns, "matrix": replace(column, data=bytes(data))})


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (change_votes, ("votes on the ledger", "credits, accounts or votes do not follow")),
        (change_matrix, ("differs from what the matrix",)),
        (lambda evidence: replace(evidence, seed=bytes(32)), ("seed of the windows",)),
        (lambda evidence: replace(evidence, epoch=1), ("another network, epoch or validator",)),
    ],
    ids=["votes", "matrix", "seed", "epoch"],
)
def test_what_differs_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, tamper: Tamper, said: tuple[str, ...]
) -> None:
    """As if the commitment had been to evidence that is not sound."""
    path = evidence_of(home, "victor")
    forged = encode_evidence(tamper(decode_evidence(path.read_bytes())))

    def read(at: Path, expected_hash: bytes) -> Any:
        return decode_evidence(forged if at == path else at.read_bytes())

    monkeypatch.setattr("cluster.audit.read_evidence", read)
    found = wrong(home)
    assert set(found) == {"victor"}
    assert all(any(words in sentence for sentence in found["victor"]) for words in said), found


def test_the_command_ends_with_one_and_names_the_validator(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["taoray", "ledger", "audit", "2", "--home", str(home), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    code, printed = run("--json")
    document = json.loads(printed.splitlines()[-1])
    assert (code, document["sound"], document["epoch"], len(document["votes"])) == (0, True, 2, 3)
    evidence_of(home, "vera").unlink()
    code, printed = run()
    assert code == 1
    assert "vera: " in printed
    code, printed = run("--json")
    assert (code, json.loads(printed.splitlines()[-1])["sound"]) == (1, False)

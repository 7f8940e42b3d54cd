"""`taoray ledger golden`: what it prints, and how it exits."""

import json
from pathlib import Path

from typer.testing import CliRunner

from cluster.cli.ledger import app
from ledger.golden import GoldenError

MASK = {"values": [1, 2, 3], "k": 2}


def write_cases(path: Path, *masks: list[bool]) -> Path:
    cases = [
        {"id": f"case {index}", "kind": "topk", "input": {"cases": [MASK]}, "expected": {"masks": [mask]}}
        for index, mask in enumerate(masks)
    ]
    path.write_text(json.dumps({"cases": [*cases, {"id": "odd", "kind": "odd", "input": 0, "expected": 0}]}))
    return path


def test_it_prints_what_passed_failed_and_was_skipped(tmp_path: Path) -> None:
    path = write_cases(tmp_path / "cases.json", [False, True, True], [True, True, True])
    result = CliRunner().invoke(app, ["golden", str(path), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "passed": 1,
        "failed": [{"id": "case 1", "what": "masks[0][0]", "expected": True, "got": False}],
        "skipped": [{"id": "odd", "why": "kind 'odd', which this runner does not know"}],
    }


def test_it_exits_0_where_nothing_failed_and_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["golden", str(write_cases(tmp_path / "cases.json", [False, True, True]))])
    assert result.exit_code == 0
    assert "1 passed, 0 failed, 1 skipped" in result.stdout


def test_a_file_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["golden", str(tmp_path / "none.json")])
    assert isinstance(result.exception, GoldenError)

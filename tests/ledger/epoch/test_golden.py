"""The golden cases through the same runner as `taoray ledger golden`, and the runner itself."""

import copy
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ledger.golden import CHECKS, GoldenError, Report, read_golden, run_golden
from ledger.golden_compare import Function, GoldenInputError, check_relation, find_mismatch
from ledger.golden_epochs import read_sequence, run_sequence

GOLDEN = Path(__file__).parents[2] / "golden" / "yuma.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]
FOREIGN = {
    "epoch_subnet_owner_self_weight_kept": "subnet owners",
    "pow_difficulty_adjustment_legacy": "proof of work",
    "burn_adjustment_legacy": "proof of work",
}
"""Cases about what this ledger does not have, and the reason that is given."""

Run = Callable[[list[dict[str, Any]]], Report]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run cases from a file of their own."""

    def run_cases(cases: list[dict[str, Any]]) -> Report:
        path = tmp_path / "cases.json"
        path.write_text(json.dumps({"schema_version": 1, "cases": cases}))
        return run_golden(path)

    return run_cases


def case_of(kind: str) -> dict[str, Any]:
    return copy.deepcopy(next(case for case in CASES if case["kind"] == kind))


def case_named(name: str) -> dict[str, Any]:
    return copy.deepcopy(next(case for case in CASES if case["id"] == name))


def test_every_case_passes_or_is_about_what_the_ledger_does_not_have() -> None:
    report = run_golden(GOLDEN)
    assert report.failed == []
    assert report.passed == len(CASES) - len(FOREIGN)
    assert {skip.id for skip in report.skipped} == set(FOREIGN)
    assert all(skip.why.startswith(FOREIGN[skip.id]) for skip in report.skipped)


def shifted(value: Any) -> Any:
    """An expectation with each number moved and each truth turned."""
    if isinstance(value, dict):
        return {name: shifted(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shifted(part) for part in value]
    if isinstance(value, bool):
        return not value
    return value + 0.37 if isinstance(value, int | float) else value


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in CASES} & set(CHECKS)))
def test_every_kind_can_fail(kind: str, run: Run) -> None:
    case = case_of(kind)
    case["tolerance"] = dict.fromkeys(case["tolerance"], 0.001)
    if kind == "epoch_sequence":
        case["expected"]["epochs"] = [{"trace": shifted(case["expected"]["epochs"][0]["trace"])}]
    elif kind == "consensus_guarantee":
        case["expected"] = {"property": "major_stake > major_emission_ratio"}
    else:
        case["expected"] = shifted(case["expected"])
    report = run([case])
    assert (report.passed, len(report.failed), report.skipped) == (0, 1, [])
    assert report.failed[0].id == case["id"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("emission", [1] * 8),
        ("bonds_u16", [[0, 4, 16000]]),
        ("bonds_float", [[0, 4, 0.9]]),
        ("dividends_float", [1] * 8),
        ("incentive_u16", [0, 0, 0, 0, 9, 9, 9, 9]),
        ("validator_permit", [True] * 8),
        ("active", [False] * 8),
        ("relations", ["inc(0,7)<inc(0,4)"]),
        ("relations", ["bond(0,0,4)==0"]),
        ("relations", ["total(0)==0 or se(0,0)>0"]),
        ("consensus_u16", [0]),
    ],
)
def test_every_expectation_of_an_epoch_can_fail(name: str, value: Any, run: Run) -> None:
    case = case_named("epoch_bonds_8_epochs")
    case["expected"] = {"epochs": [{name: value}]}
    report = run([case])
    assert len(report.failed) == 1, report
    assert report.failed[0].what.startswith(("epoch 0", "length of"))


@pytest.mark.parametrize("name", ["epoch_512_graph_block_noself", "epoch_512_graph_regular_noself"])
def test_roles_of_generated_graphs_can_fail(name: str, run: Run) -> None:
    for role, field in (("servers", "incentive_u16"), ("validators", "bond_on_first_server"), ("servers", "emission")):
        case = case_named(name)
        case["expected"]["epochs"][2]["by_role"][role][field] += 1000
        assert f"{role}: {field}" in run([case]).failed[0].what


def test_what_is_not_understood_is_skipped_with_its_reason(run: Run) -> None:
    cases = [case_named("attack_51_49_disjoint_cabal") for _ in range(6)]
    cases[0]["input"]["params"]["yuma4"] = True
    cases[1]["input"]["epochs"][0]["weather"] = 1
    cases[2]["expected"]["epochs"][0] = {"luck_u16": [1, 2, 3, 4]}
    cases[3]["kind"] = "sudoku"
    cases[4]["input"]["generator"] = {"n": 4, "validators": 2, "stake_per_validator": 1, "layout": "spiral"}
    cases[5]["input"]["params"]["kappa"] = 0
    for index, case in enumerate(cases):
        case["id"] = str(index)
    del cases[4]["input"]["initial"]
    report = run(cases)
    assert report.passed == 0
    for skip, word in zip(report.skipped, ("yuma4", "weather", "luck", "sudoku", "spiral", "kappa"), strict=True):
        assert word in skip.why


def test_notes_for_people_may_stand_anywhere(run: Run) -> None:
    case = case_named("attack_51_49_disjoint_cabal")
    entries = (case["input"], case["input"]["params"], case["input"]["epochs"][0], case["expected"]["epochs"][0])
    for entry in entries:
        entry["note"] = "why this is so"
    assert run([case]).passed == 1


def test_events_happen_in_their_epoch_and_parameters_stay_changed(run: Run) -> None:
    """A reset clears the bonds on a uid, and new parameters hold from their epoch on."""
    case = case_named("epoch_bonds_8_epochs")
    first = {**case["input"]["epochs"][0], "block_at_registration": [0] * 8}
    case["input"]["params"].update(yuma3=True, bonds_penalty=0)
    later = [{"current_block": block} for block in (2, 3, 4)]
    later[1] |= {"reset_bonds_for_uid": 7, "params": {"bonds_moving_average": 0}}
    case["input"]["epochs"] = [first, *later]
    case["expected"] = {
        "epochs": [
            {"relations": ["bond(0,0,7) > 0"]},
            {"relations": ["bond(1,0,7) > bond(0,0,7)", "bond(1,0,6) > bond(0,0,6)"]},
            {"relations": ["abs(bond(2,0,7) - 26214) <= 1"]},
            {"relations": ["bond(3,0,7) == bond(2,0,7) and not bond(3,0,6) < bond(2,0,6)"]},
        ]
    }
    report = run([case])
    assert report.passed == 1, report


def test_carried_in_q31_the_long_sequence_drifts_by_no_more_than_the_reference_truncates() -> None:
    case = next(case for case in read_golden(GOLDEN).cases if case.id == "epoch_bonds_8_epochs")
    sequence = read_sequence(case.input)
    exact = [epoch.outcome.dividends_q31 for epoch in run_sequence(sequence, truncate=False)]
    for epoch, dividends in zip(run_sequence(sequence), exact, strict=True):
        drift = [abs(ours - theirs) for ours, theirs in zip(dividends, epoch.outcome.dividends_q31, strict=True)]
        assert max(drift) <= 5 * 2**31 / 65535


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a golden file"),
        ("[]", "Expected `object`"),
        ('{"cases": 3}', "$.cases"),
        ('{"cases": [{"id": "a", "kind": "topk", "input": {}}]}', "expected"),
        ('{"cases": [], "schema_version": 9}', "schema version 9"),
        ('{"cases": [{"id": "a", "kind": "x", "input": NaN, "expected": 1}]}', "NaN is not a number"),
        ('{"cases": [{"id": "a", "kind": "topk", "input": {"cases": []}, "expected": {}}]}', "case 'a' is malformed"),
        ('{"cases": [{"id": "a", "kind": "x", "input": 1, "expected": 1}, {"id": "a", "kind": "x", "input": 1,'
         ' "expected": 1}]}', "twice"),
        ("[" * 100_000, "not a golden file"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(text)
    with pytest.raises(GoldenError) as refusal:
        run_golden(path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("stake", [1, 2], "n = 4"),
        ("stake", [1, 2, "3", 4], "int"),
        ("weights", [[[2, 70000]], [], [], []], "65535"),
        ("weights", [[[9, 1]], [], [], []], "below 4"),
        ("weights", [[[2, 1], [2, 1]], [], [], []], "ascending"),
        ("current_block", None, "current_block"),
    ],
)
def test_a_malformed_epoch_is_refused_and_named(field: str, value: Any, said: str, run: Run) -> None:
    case = case_named("attack_51_49_disjoint_cabal")
    case["input"]["epochs"][0][field] = value
    with pytest.raises(GoldenError, match="attack_51_49_disjoint_cabal") as refusal:
        run([case])
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("1 + 2 * 3 == 7", True),
        ("0.1 + 0.2 == 0.3", True),
        ("near(5) == 6", True),
        ("near(5) == 8", False),
        ("near(5) >= 7", True),
        ("near(5) > 5", False),
        ("1 < 2 < 3 and not 2 > 3", True),
        ("-near(1) / 2 != 0", True),
    ],
)
def test_relations_compare_within_what_their_functions_allow(expression: str, holds: bool) -> None:
    assert check_relation(expression, {"near": Function(lambda value: value, Fraction(2))}) == holds


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "near.__class__", "(lambda: 1)()", "[1][0]", "1 if 2 else 3", "1 +", "1 / 0", "x > 1", "2**9"],
)
def test_relations_can_do_nothing_else(expression: str) -> None:
    with pytest.raises(GoldenInputError):
        check_relation(expression, {"near": Function(lambda value: value)})


def test_null_asserts_nothing_and_lengths_are_compared() -> None:
    assert find_mismatch("x", [None, 2], [1, 2], Fraction(0)) is None
    assert find_mismatch("x", [1], [1, 2], Fraction(0)).what == "length of x"
    assert find_mismatch("x", [[1], [2]], [[1], [5]], Fraction(2)).what == "x[1][0]"
    assert find_mismatch("x", True, False, Fraction(1)).got is False

"""Golden files: numeric cases of consensus and of the token rules, run through this ledger.

Invariants: no case is known here, only kinds; every case of a file is counted exactly once, as passed, failed or
skipped with its reason; a file that can't be read is refused as a whole, in one sentence.

The schema is told in `tests/golden/README.md`.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from msgspec import Struct

from ledger.errors import LedgerError
from ledger.golden_compare import Check, GoldenInputError, Tolerances, UnsupportedError, read_as
from ledger.golden_expected import check_sequence
from ledger.golden_rules import RULES
from ledger.golden_study import STUDY
from ledger.golden_supply import SUPPLY

CHECKS: Mapping[str, Check] = {"epoch_sequence": check_sequence, **RULES, **SUPPLY, **STUDY}
"""By kind."""

FOREIGN: Mapping[str, str] = {
    "difficulty_adjust": "proof of work: registration has a price here, and no difficulty",
}
"""Kinds whose feature this ledger does not have, and why."""

SCHEMA_VERSION = 1


class GoldenError(LedgerError):
    """A golden file that can't be read or run."""


class Case(Struct, frozen=True):
    """A case of a file; what else it holds (origin, source, notes) is for people."""

    id: str
    kind: str
    input: Any
    expected: Any
    tolerance: dict[str, Fraction] = {}


class File(Struct, frozen=True):
    """A golden file."""

    cases: list[Case]
    schema_version: int = SCHEMA_VERSION


class Failure(Struct, frozen=True):
    """The first thing of a case that came out differently."""

    id: str
    what: str
    expected: Any
    got: Any


class Skip(Struct, frozen=True):
    """A case that was not run."""

    id: str
    why: str


class Report(Struct, frozen=True):
    """What came of a file."""

    passed: int
    failed: list[Failure]
    skipped: list[Skip]


def run_golden(path: Path) -> Report:
    """Run every case of a file; GoldenError if it is not one."""
    passed, failed, skipped = 0, [], []
    for case in read_golden(path).cases:
        result = run_case(case)
        if isinstance(result, Failure):
            failed.append(result)
        elif isinstance(result, Skip):
            skipped.append(result)
        else:
            passed += 1
    return Report(passed, failed, skipped)


def read_golden(path: Path) -> File:
    """The cases of a file, with decimals as exact fractions."""
    try:
        data = json.loads(path.read_bytes(), parse_float=Fraction, parse_constant=_refuse_constant)
        file = read_as(data, File, "file")
    except OSError as error:
        raise GoldenError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError, GoldenInputError) as error:
        raise GoldenError(f"{path} is not a golden file: {error}") from None
    if file.schema_version != SCHEMA_VERSION:
        raise GoldenError(f"{path} has schema version {file.schema_version}, this runner reads {SCHEMA_VERSION}")
    ids = [case.id for case in file.cases]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise GoldenError(f"{path} is not a golden file: the case {twice!r} is there twice")
    return file


def run_case(case: Case) -> Failure | Skip | None:
    """Run one case; nothing is returned where it passes. GoldenError if it is malformed."""
    check = CHECKS.get(case.kind)
    if check is None:
        return Skip(case.id, FOREIGN.get(case.kind, f"kind {case.kind!r}, which this runner does not know"))
    tolerance: Tolerances = case.tolerance
    try:
        mismatch = check(case.input, case.expected, tolerance)
    except UnsupportedError as error:
        return Skip(case.id, str(error))
    except (GoldenInputError, ValueError, OverflowError) as error:
        raise GoldenError(f"case {case.id!r} is malformed: {error}") from None
    if mismatch is None:
        return None
    return Failure(case.id, mismatch.what, _plain(mismatch.expected), _plain(mismatch.got))


def _plain(value: Any) -> Any:
    """A number as JSON has it."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")

"""The report of a benchmark: its lines, and all that one needs to believe them.

Invariants: a report says which machine, which code and which settings; as a file it is one JSON document without any
path of the machine that made it.
"""

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch

from models.bench.ceilings import Ceilings
from models.bench.line import Line
from models.bench.machine import Machine, describe_machine

ROOT = Path(__file__).parents[2]
MEASURED = ("actors", "benchmarks/*.py", "benchmarks/gpu", "cluster", "ledger", "models")
"""Where changes that are not in the commit would make a figure another."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        work: score, train, value, epoch or ledger.
        model: the preset's or the folder's name; empty where there is none.
        machine, ceilings: where, and what its device does at most, by the type of its matrix product.
        configuration: every setting, defaults filled in.
        commit: of the code; None outside a git checkout. changed: files that differ from it.
        at: when, in UTC.
        lines: one each setting.
        messages: what holds for all of them.
    """

    work: str
    model: str
    machine: Machine
    ceilings: tuple[Ceilings, ...]
    configuration: dict[str, Any]
    commit: str | None
    changed: tuple[str, ...]
    at: str
    lines: tuple[Line, ...]
    messages: tuple[str, ...] = ()


def make_report(
    work: str,
    model: str,
    device: torch.device,
    *,
    ceilings: Sequence[Ceilings],
    configuration: Mapping[str, Any],
    lines: Sequence[Line],
    messages: Sequence[str] = (),
) -> Report:
    """The report of these lines, made now, of the device that they were measured on."""
    commit, changed = code_version()
    return Report(
        work=work,
        model=model,
        machine=describe_machine(device),
        ceilings=tuple(ceilings),
        configuration=dict(configuration),
        commit=commit,
        changed=changed,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        lines=tuple(lines),
        messages=tuple(messages),
    )


def write_report(report: Report, path: Path) -> Path:
    """As one JSON document. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def read_report(path: Path) -> Report:
    """What `write_report` wrote. Raises OSError, or msgspec.ValidationError where it is no report."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def code_version() -> tuple[str | None, tuple[str, ...]]:
    """The commit of this code, and the measured files that differ from it; None where it is not in a git checkout."""
    if _git("rev-parse", "--show-toplevel") != str(ROOT):
        return None, ()
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *MEASURED) or ""
    return _git("rev-parse", "HEAD"), tuple(line.split(maxsplit=1)[1] for line in changed.splitlines())


def _git(*arguments: str) -> str | None:
    """What git prints; None where it is not installed, or refuses."""
    try:
        done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

"""The lines of a report as rows of text: what varies in columns, what all share in one sentence.

Invariants: a figure that nobody measured is a dash; a column without a figure is left out; nothing is computed here
but shares of what a line holds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from models.bench.line import Line
from models.bench.report import Report
from models.bench.words import quantity

BLANK = "—"
Cell = Callable[[Line], str]


def parts_of(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines of one unit each, in their order: tokens of a step and parameters of an update share no column."""
    return [[line for line in lines if line.unit == unit] for unit in dict.fromkeys(line.unit for line in lines)]


def common_setting(lines: Sequence[Line]) -> dict[str, str]:
    """What all lines share; it needs no column."""
    return {
        name: _said(value)
        for name, value in lines[0].setting.items()
        if all(name in line.setting and line.setting[name] == value for line in lines)
    }


def columns_of(lines: Sequence[Line]) -> dict[str, list[str]]:
    """By heading, the cells of lines of one unit: first the settings that vary, then what was measured."""
    common = common_setting(lines)
    names = [name for name in dict.fromkeys(name for line in lines for name in line.setting) if name not in common]
    told: dict[str, list[str]] = {name: [_said(line.setting.get(name)) for line in lines] for name in names}
    figures: dict[str, Cell] = {
        f"{lines[0].unit}/s": lambda line: _short(line.units_s),
        "spread": lambda line: _spread(line),
        "FLOP/s": lambda line: _short(line.operations_s or None),
        "MFU": lambda line: share(line.mfu or None),
        "B/s": lambda line: _short(line.bytes_s),
        "of copy": lambda line: share(line.bandwidth),
        "bound by": lambda line: line.bound,
        "ratio": lambda line: f"{line.ratio.median:.3f}" if line.ratio else BLANK,
        "memory": lambda line: _short(line.memory_bytes, "B"),
        "energy": lambda line: f"{line.energy_j:.3g} J" if line.energy_j is not None else BLANK,
    }
    for heading, cell in figures.items():
        cells = [cell(line) for line in lines]
        if any(text != BLANK for text in cells):
            told[heading] = cells
    return told


def title_of(report: Report, lines: Sequence[Line]) -> str:
    """What was measured, where, and what all lines share."""
    what = f"{report.work} {report.model}".strip()
    shared = ", ".join(f"{name} {value}" for name, value in common_setting(lines).items())
    return f"{what} on {report.machine.device}" + (f": {shared}" if shared else "")


def remarks_of(lines: Sequence[Line]) -> list[str]:
    """What lines say beside their figures, each once, with the settings that it is about where not of all."""
    about: dict[str, list[str]] = {}
    common = common_setting(lines)
    for line in lines:
        which = ", ".join(f"{name} {_said(value)}" for name, value in line.setting.items() if name not in common)
        for message in line.messages:
            about.setdefault(message, []).append(which)
    return [
        message if len(which) == len(lines) else f"{'; '.join(which)}: {message}" for message, which in about.items()
    ]


def file_name(report: Report) -> str:
    """What its files are called, without a suffix: the work, and the kind of device that did it."""
    return f"bench_{report.work}_{'cuda' if report.machine.driver else 'cpu'}"


def record_path(report: Report, folder: Path) -> Path:
    """Where its record lies in a folder."""
    return folder / f"{file_name(report)}.json"


def share(value: float | None) -> str:
    """A share in percent, three digits."""
    if value is None:
        return BLANK
    return f"{value:.1%}" if value >= 0.1 else f"{value:.2%}"


def _spread(line: Line) -> str:
    """Half of what lies between the quartiles, as a share of the median."""
    low, high = line.seconds.quartiles
    return f"± {(high - low) / 2 / line.seconds.median:.1%}" if line.seconds.samples > 1 else BLANK


def _short(value: float | None, unit: str = "") -> str:
    return BLANK if value is None else quantity(value, unit).replace(" ", "")


def _said(value: str | int | float | bool | None) -> str:
    match value:
        case None:
            return BLANK
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)

"""The figure of a sweep: throughput, and how near it comes to the floor, over the setting that varies most.

Invariants: one figure as PNG and SVG; everything in it is in the report; text in the SVG stays text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.bench.table import common_setting, parts_of
from models.bench.line import Line
from models.bench.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#20639b", "#f6a21e", "#3caea3", "#8a4f7d", "#173f5f", "#c0504d", "#8a949e", "#7a9a01")
SHOWN = len(COLOURS)
"""Curves in the figure; more could not be told apart."""


def swept_setting(lines: Sequence[Line]) -> str | None:
    """The number that takes the most values; None where none takes two."""
    values = {
        name: {line.setting.get(name) for line in lines}
        for name, value in lines[0].setting.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    name = max(values, key=lambda name: len(values[name]), default=None)
    return name if name is not None and len(values[name]) > 1 else None


def draw_report(report: Report, base: Path) -> tuple[Path, ...]:
    """Draw `base`.png and `base`.svg; no files where nothing was swept. Raises OSError."""
    parts = [(lines, name) for lines in parts_of(report.lines) if (name := swept_setting(lines))]
    if not parts:
        return ()
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2 * len(parts)), layout="constrained")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 10}):
        rows = figure.subplots(len(parts), 2, squeeze=False)
        for (left, right), (lines, name) in zip(rows, parts, strict=True):
            _draw(left, right, lines, name)
        figure.suptitle(f"{report.work} {report.model} on {report.machine.device}", x=0.01, ha="left", fontsize=12)
        paths = tuple(base.with_name(base.name + ".png").with_suffix(suffix) for suffix in (".png", ".svg"))
        base.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            figure.savefig(path, dpi=150)
    return paths


def curves_of(lines: Sequence[Line], name: str) -> dict[str, list[Line]]:
    """By what else varies of itself, the lines in the order of the swept setting."""
    dropped = {name, *common_setting(lines), *following(lines, name)}
    curves: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: float(line.setting.get(name, 0))):
        rest = [f"{key} {value}" for key, value in line.setting.items() if key not in dropped]
        curves.setdefault(", ".join(rest), []).append(line)
    return dict(list(curves.items())[:SHOWN])


def following(lines: Sequence[Line], name: str) -> set[str]:
    """Settings that follow from the swept one, as the rows of a batch do from the length of one."""
    values: dict[str, dict[object, set[object]]] = {}
    for line in lines:
        for key, value in line.setting.items():
            values.setdefault(key, {}).setdefault(line.setting.get(name), set()).add(value)
    return {key for key, found in values.items() if all(len(own) == 1 for own in found.values())}


def _draw(left: "Axes", right: "Axes", lines: Sequence[Line], name: str) -> None:
    for colour, (label, own) in zip(COLOURS, curves_of(lines, name).items(), strict=False):
        x = [float(line.setting[name]) for line in own]
        rates = [line.units_s for line in own]
        spread: Any = [
            [line.units_s - line.units / line.seconds.quartiles[1] for line in own],
            [line.units / line.seconds.quartiles[0] - line.units_s for line in own],
        ]
        left.errorbar(x, rates, yerr=spread, marker="o", color=colour, capsize=3, linewidth=1.4, label=label or None)
        right.plot(x, [100 * line.floor_s / line.seconds.median for line in own], "o-", color=colour, linewidth=1.4)
    left.set_ylabel(f"{lines[0].unit} a second (median, quartiles)")
    right.set_ylabel("% of what its floor allows")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel(name)
        axes.set_ylim(bottom=0)
        ticks = sorted({float(line.setting[name]) for line in lines if name in line.setting})
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e6e9", linewidth=0.8)
        axes.set_axisbelow(True)
    if left.get_legend_handles_labels()[0]:
        left.legend(frameon=False, fontsize=9)

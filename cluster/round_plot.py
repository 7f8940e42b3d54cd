"""The figure of a network's cohorts: bits per byte over the text that their members were given.

Invariants: everything in it stands in the records of the epochs; the file is whole or the one before it.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.home import Home
from cluster.report import EpochRecord, RoundRecord, read_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#20639b", "#2a7a52", "#b5485d", "#7b5ea7", "#96610f")
TOGETHER, ALONE, REFUSED = "#173f5f", "#8a949e", "#f6a21e"
Curve = Sequence[tuple[float, float]]


def draw_rounds(home: Home) -> Path | None:
    """Draw the rounds of all epochs of a home, and return the figure's path; None where there were none. Raises
    OSError.
    """
    records = [record for record in read_epochs(home.epochs) if any(each.tokens for each in record.rounds)]
    if not records:
        return None
    draw_curves(records, home.rounds_plot)
    return home.rounds_plot


def draw_curves(records: Sequence[EpochRecord], path: Path) -> None:
    """Draw records of epochs with rounds as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    cohorts = list(dict.fromkeys(each.cohort for record in records for each in record.rounds))
    for index, cohort in enumerate(cohorts):
        _draw_cohort(above, cohort, records, COLOURS[index % len(COLOURS)])
    _draw_others(above, records)
    above.set_ylabel("bits per byte, less is better")
    above.legend(frameon=False, fontsize=9)
    _draw_contributions(below, records)
    below.set_xlabel("bytes of text that was given to those who sent updates")
    below.xaxis.set_major_formatter(lambda tokens, _: f"{tokens / 1e6:g} M")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6e9", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.suptitle(_title(records), x=0.01, ha="left", fontsize=11)
    scratch = path.with_suffix(".new.png")
    figure.savefig(scratch, dpi=150)
    scratch.replace(path)


def _draw_cohort(axes: "Axes", cohort: str, records: Sequence[EpochRecord], colour: str) -> None:
    """What θ needs on held-out text, at the text that led to it, and the loss of each round's training."""
    rounds = _rounds_of(cohort, records)
    learned = [
        (before.tokens, after.bits_per_byte) for before, after in pairwise(rounds) if after.bits_per_byte is not None
    ]
    trained = [(each.tokens, each.loss_bits_per_byte) for each in rounds if each.loss_bits_per_byte is not None]
    last = f": {learned[-1][1]:.3f}" if learned else ""
    axes.plot(*_columns(learned), "o-", color=colour, markersize=4, label=f"{cohort}, held-out text{last}")
    axes.plot(*_columns(trained), ":", color=colour, label=f"{cohort}, its members' training loss")


def _draw_others(axes: "Axes", records: Sequence[EpochRecord]) -> None:
    """The collective, and the best of those who train alone, in the same epochs."""
    together: list[tuple[float, float]] = []
    alone: list[tuple[float, float]] = []
    for record, tokens in zip(records, _tokens_before(records), strict=True):
        if record.collective_bits_per_byte is not None:
            together.append((tokens, record.collective_bits_per_byte))
        others = [n.bits_per_byte for n in record.neurons if n.kind != "cohort" and n.bits_per_byte is not None]
        alone += [(tokens, min(others))] if others else []
    axes.plot(*_columns(together), "--", color=TOGETHER, linewidth=1.2, label="the collective")
    if alone:
        axes.plot(*_columns(alone), "--", color=ALONE, linewidth=1.2, label="the best of those who train alone")


def _draw_contributions(axes: "Axes", records: Sequence[EpochRecord]) -> None:
    """How many updates each round took, and how many not."""
    from matplotlib.ticker import MaxNLocator

    rounds = [each for record in records for each in record.rounds]
    tokens = [each.tokens for each in rounds]
    width = 0.7 * max(tokens) / max(1, len({*tokens})) if max(tokens) else 1.0
    taken = [len(each.taken) for each in rounds]
    axes.bar(tokens, taken, width, color=COLOURS[1], label="taken")
    axes.bar(tokens, [len(each.refused) for each in rounds], width, taken, color=REFUSED, label="not taken")
    axes.set_ylabel("updates")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.5 * max(len(each.members) for each in rounds))
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)


def _tokens_before(records: Sequence[EpochRecord]) -> list[float]:
    """The most text that a cohort had read when each epoch's versions were published."""
    read = [float(max(each.tokens for each in record.rounds)) for record in records]
    return [0.0, *read[:-1]]


def _rounds_of(cohort: str, records: Sequence[EpochRecord]) -> list[RoundRecord]:
    return [each for record in records for each in record.rounds if each.cohort == cohort]


def _columns(points: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _title(records: Sequence[EpochRecord]) -> str:
    last = [each for each in records[-1].rounds if each.sent_bytes_so_far]
    sent, dense = sum(each.sent_bytes_so_far for each in last), sum(each.dense_bytes_so_far for each in last)
    less = f": {sent / 1e6:,.1f} MB sent, {dense / sent:,.0f} times less than whole updates" if sent else ""
    return f"{len(records)} rounds of training together{less}"

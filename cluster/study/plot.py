"""The figure of an evaluation: who the collective's answers come from, and how it stands to each model alone.

Invariants: one figure as PNG and SVG; everything in it is in the evaluation; text in the SVG stays text.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.study.result import Evaluation, ModelValue

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 24
"""Models in the figure, those with the largest shares; with more, names could not be read."""
NAME_WIDTH = 30
"""Characters of a name in the figure."""
SHARE, NEW, SINGLE, TOGETHER, BASELINE = "#20639b", "#f6a21e", "#8a949e", "#173f5f", "#b8bec5"


def draw_evaluation(evaluation: Evaluation, base: Path) -> tuple[Path, Path]:
    """Draw `base`.png and `base`.svg, and return both paths. Raises OSError."""
    import matplotlib
    from matplotlib.figure import Figure

    order = {model.name: number for number, model in enumerate(evaluation.models, 1)}
    valued = sorted((model for model in evaluation.models if model.error is None), key=lambda model: -model.share_bits)
    shown = valued[:SHOWN]
    height = 2.1 + 0.42 * len(shown)
    figure = Figure(figsize=(11, height), layout="constrained")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 10}):
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        _draw_shares(left, shown)
        _draw_bits(right, shown, evaluation)
        left.set_yticks(range(len(shown)), [f"{order[model.name]}. {_short(model.name)}" for model in shown])
        left.set_ylim(len(shown) - 0.4, -0.6)
        figure.suptitle(_title(evaluation, len(shown), len(valued)), x=0.01, ha="left", fontsize=12)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize=9.5)
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=9.5)
        paths = base.with_name(base.name + ".png"), base.with_name(base.name + ".svg")
        for path in paths:
            figure.savefig(path, dpi=150)
    return paths


def _draw_shares(axes: "Axes", shown: list[ModelValue]) -> None:
    """Two bars a model, with error bars of one standard error."""
    style: dict[str, Any] = {"height": 0.36, "error_kw": {"ecolor": "#333333", "elinewidth": 1, "capsize": 2}}
    rows = range(len(shown))
    axes.barh(
        [row - 0.19 for row in rows],
        [model.share_bits for model in shown],
        xerr=[model.share_se for model in shown],
        color=SHARE,
        label="share: what of the collective's gain comes from it",
        **style,
    )
    axes.barh(
        [row + 0.19 for row in rows],
        [model.new_bits for model in shown],
        xerr=[model.new_bits_se for model in shown],
        color=NEW,
        label="new bits: what it added to the models of lower number",
        **style,
    )
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_xlabel("bits per byte (± standard error), more is better")
    axes.set_title("What each model brings", loc="left", fontsize=10.5)
    _tidy(axes)


def _draw_bits(axes: "Axes", shown: list[ModelValue], evaluation: Evaluation) -> None:
    """A dot a model, and a line for the collective."""
    measured = [(row, model.bits_per_byte) for row, model in enumerate(shown) if model.bits_per_byte is not None]
    axes.axvline(
        evaluation.collective_bits_per_byte,
        color=TOGETHER,
        linewidth=1.8,
        label=f"the collective: {evaluation.collective_bits_per_byte:.3f}",
    )
    axes.axvline(
        evaluation.baseline_bits_per_byte,
        color=BASELINE,
        linewidth=1.2,
        linestyle="--",
        label=f"byte frequencies: {evaluation.baseline_bits_per_byte:.3f}",
    )
    axes.plot([bits for _, bits in measured], [row for row, _ in measured], "o", color=SINGLE, label="a model alone")
    for row, bits in measured:
        axes.annotate(f"{bits:.3f}", (bits, row), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlabel("bits per byte, less is better")
    axes.set_title("How well the text is predicted", loc="left", fontsize=10.5)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    _tidy(axes)


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e6e9", linewidth=0.8)
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…"


def _title(evaluation: Evaluation, shown: int, valued: int) -> str:
    models = f"{valued} model{'s' if valued != 1 else ''}"
    some = f" (the {shown} with the largest shares are shown)" if shown < valued else ""
    return (
        f"{models} as one collective: {evaluation.gain_bits:.3f} bits per byte better than byte frequencies, "
        f"on {evaluation.bytes:,} bytes of held-out text{some}"
    )

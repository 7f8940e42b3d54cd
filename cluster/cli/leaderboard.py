"""An evaluation for a person, in 100 columns: the leaderboard, weights by stratum, and what stands below them."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

import taoray
from cluster.cli.tables import bits, plain_table, share

NAME_WIDTH = 16
"""Characters of a name; the JSON has all of them."""


def leaderboard(evaluation: taoray.Evaluation) -> Table:
    """The valued models, the largest share first; `#` is the place in the order of publication."""
    valued = sum(model.error is None for model in evaluation.models)
    table = plain_table(
        f"{valued} models as one collective, bits per byte ± standard error",
        ["#", "model"],
        ["alone", "share", "lost without", "new in order", "nearest", "apart", "tokens/s"],
    )
    for number, model in sorted(enumerate(evaluation.models, 1), key=lambda item: -item[1].share_bits):
        if model.error is None:
            table.add_row(
                str(number),
                short(model.name),
                bits(model.bits_per_byte),
                measured(model.share_bits, model.share_se),
                measured(model.lost_without_bits, model.lost_without_se),
                measured(model.new_bits, model.new_bits_se),
                short(model.nearest) if model.nearest else "·",
                bits(model.nearest_bits, 2),
                f"{model.tokens_per_second:,.0f}" if model.tokens_per_second else "·",
            )
    return table


def weights_table(evaluation: taoray.Evaluation) -> Table:
    """The weight of each model in the collective, by stratum; what is missing to 100 % is the baseline's."""
    strata = list(evaluation.strata)
    table = plain_table("weight in the collective, by kind of text", ["#", "model"], strata)
    for number, model in sorted(enumerate(evaluation.models, 1), key=lambda item: -item[1].share_bits):
        if model.error is None:
            table.add_row(str(number), short(model.name), *(share(model.weight[name]) for name in strata))
    return table


def summary(evaluation: taoray.Evaluation) -> Iterator[str]:
    """The collective in two lines."""
    best = f"best single {bits(evaluation.best_bits_per_byte)} ({escape(evaluation.best or 'none')})"
    yield (
        f"\ncollective [bold]{bits(evaluation.collective_bits_per_byte)}[/] bits/byte, {best}, "
        f"baseline {bits(evaluation.baseline_bits_per_byte)}"
    )
    yield (
        f"gain {measured(evaluation.gain_bits, evaluation.gain_se)}, of it {evaluation.refit_bits:z.3f} by fitting all "
        f"weights at once; {evaluation.events:,} events, {evaluation.bytes:,} bytes, "
        f"{sum(evaluation.seconds.values()):.1f} s"
    )


def failures(evaluation: taoray.Evaluation) -> Iterator[str]:
    """A line for each model without a value."""
    for model in evaluation.models:
        if model.error is not None:
            yield f"[bold red]no value[/]: {escape(model.name)}: {escape(model.error)}"


def measured(value: float, error: float) -> str:
    """A figure with its standard error."""
    return f"{value:z.3f} ± {error:.3f}"


def short(name: str) -> str:
    """A name that fits its column."""
    return escape(name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…")

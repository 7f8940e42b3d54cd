"""Value: what it takes to know whose a collective's bits are, certified, out of fold and with errors.

Invariants: the rows are a hard case, models of like quality that err independently, so that many carry weight; a line
says the certificate that its valuation reached, and how often it took the probabilities in hand.

What bounds it: any valuation reads every probability once, 4 bytes each in float32, so a device that copies b bytes a
second needs at least 4·N·M / b seconds for N models and M events: a pass's worth. What really happens is an exponential
of every probability, a pass over all rows each time the fit looks who else should carry weight, and for the K rows with
weight 2·K²·M operations of each Hessian: with two on each fold and two for the errors 8·K²·M.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.bench.ceilings import Ceilings
from models.bench.cost import value_cost
from models.bench.line import Line, Setting, make_line
from models.bench.samples import sample_works, write_trace
from models.bench.timing import spread_of
from models.bench.words import bound_sentence
from models.host.allocator import keep_freed_memory
from models.value.events import make_events
from models.value.measures import Measure, measure_shares
from models.value.table import Table

BASELINE = -4.0
"""Natural logarithm that the baseline gives to every event."""


def make_rows(models: int, events: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Natural log-probabilities [N, M] in float32 of models with errors of their own, and the baseline's [M]."""
    generator = torch.Generator(device).manual_seed(seed)
    rows_NM = torch.empty(models, events, device=device).normal_(0.0, 0.5, generator=generator)
    skill_N1 = torch.empty(models, 1, device=device).normal_(0.0, 0.005, generator=generator)
    hard_M = torch.empty(events, device=device).normal_(-2.5, 1.0, generator=generator)
    rows_NM.add_(skill_N1).add_(hard_M).clamp_(max=-1e-3)
    return rows_NM, torch.full((events,), BASELINE, device=device)


def measure_value(
    *,
    models: Sequence[int],
    events: Sequence[int],
    device: torch.device,
    ceilings: Mapping[str, Ceilings],
    repeats: int,
    tell: Callable[[str], None],
    trace: Path | None = None,
) -> list[Line]:
    """`shares` of every number of models on every number of events: fit on two folds, closed form, errors.

    How the events hang together is laid out before, as it is where a text is drawn.

    ceilings: by dtype; those of float64, in which values are computed. trace: where a Chrome trace of one repetition of
    the first is written. Raises OSError where it cannot be.
    """
    keep_freed_memory()
    lines: list[Line] = []
    for count in models:
        for many in events:
            lines.append(_measure(count, many, device, ceilings["float64"], repeats, tell, None if lines else trace))
    return lines


def _measure(
    models: int,
    events: int,
    device: torch.device,
    ceilings: Ceilings,
    repeats: int,
    tell: Callable[[str], None],
    trace: Path | None,
) -> Line:
    setting: Setting = {"models": models, "events": events, "dtype": "float64"}
    cost = value_cost(models, events)
    tell(bound_sentence(setting, cost, ceilings))
    rows_NM, baseline_M = make_rows(models, events, device)
    laid_out = make_events(events)

    def value() -> tuple[Measure, float]:
        table = Table(rows_NM, baseline_M, laid_out, device)
        return measure_shares(table), table.passes

    measured, passes = value()
    (samples,) = sample_works([value], device, repeats=repeats, warm_up=1)
    if trace is not None:
        write_trace(value, device, trace)
    worth = spread_of(samples.seconds).median / cost.floors_s(ceilings)[1]
    assert measured.weights_SN is not None
    return make_line(
        setting,
        "probabilities",
        models * events,
        samples.seconds,
        cost,
        ceilings,
        memory_bytes=samples.memory_bytes,
        energy_j=samples.energy_j,
        messages=(
            f"{worth:.0f} passes' worth of the copy's bandwidth; every probability taken in hand {passes:.1f} times",
            f"certificate {measured.certificate:.0e}, {int((measured.weights_SN > 0).any(0).sum())} models with weight",
        ),
    )

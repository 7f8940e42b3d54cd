"""Value: what it takes to know whose a collective's bits are, certified, out of fold and with errors.

Invariants: the rows are a hard case, models of like quality that err independently, so that many carry weight; every
line is of a valuation that reached its certificate.

What bounds it: any valuation reads every probability once, 4 bytes each in float32, so a device that copies b bytes a
second needs at least 4·N·M / b seconds for N models and M events: a pass's worth. What really happens is an exponential
of every probability, a pass over all rows each time the fit looks who else should carry weight, and for the K rows with
weight 2·K²·M operations of each Newton step, so that a line says how many passes' worth it took, and how many it read.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from models.bench.ceilings import Ceilings
from models.bench.cost import value_cost
from models.bench.line import Line, make_line
from models.bench.timing import spread_of, time_work
from models.value import shares

BASELINE = -4.0
"""Natural logarithm that the baseline gives to every event."""


def make_rows(models: int, events: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Natural log-probabilities [N, M] in float32 of models with errors of their own, and the baseline's [M]."""
    generator = torch.Generator(device).manual_seed(seed)
    rows_NM = torch.empty(models, events, device=device).normal_(0.0, 0.5, generator=generator)
    skill_N = torch.empty(models, 1, device=device).normal_(0.0, 0.005, generator=generator)
    hard_M = torch.empty(events, device=device).normal_(-2.5, 1.0, generator=generator)
    rows_NM.add_(skill_N).add_(hard_M).clamp_(max=-1e-3)
    return rows_NM, torch.full((events,), BASELINE, device=device)


def measure_value(
    *,
    models: Sequence[int],
    events: Sequence[int],
    device: torch.device,
    ceilings: Mapping[str, Ceilings],
    repeats: int,
    tell: Callable[[str], None],
) -> list[Line]:
    """`shares` of every number of models on every number of events: fit on two folds, closed form, errors.

    ceilings: by dtype; those of float64, in which values are computed.
    """
    lines = []
    for count in models:
        for many in events:
            lines.append(_measure(count, many, device, ceilings["float64"], repeats))
            tell(f"{count} models × {many} events: {lines[-1].messages[0]}")
    return lines


def _measure(models: int, events: int, device: torch.device, ceilings: Ceilings, repeats: int) -> Line:
    rows_NM, baseline_M = make_rows(models, events, device)
    samples = time_work(lambda: shares(rows_NM, baseline_M, device=device), device, repeats=repeats, warm_up=1)
    measured, cost = shares(rows_NM, baseline_M, device=device), value_cost(models, events)
    worth = spread_of(samples).median / cost.floors_s(ceilings)[1]
    assert measured.weights_SN is not None
    return make_line(
        {"models": models, "events": events, "dtype": "float64"},
        "probability",
        models * events,
        samples,
        cost,
        ceilings,
        messages=(
            f"{worth:.1f} passes' worth of the copy's bandwidth",
            f"certificate {measured.certificate:.1e}, {int((measured.weights_SN > 0).any(0).sum())} rows with weight",
        ),
    )

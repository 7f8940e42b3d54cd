"""Which events weights are fitted on, and which they are used on.

Invariants: no event is used with weights that were fitted on its own document; each event is used exactly once; the
same cells serve the collective, the trials and the new versions, so that what was best for a cell's collective stays
best when a copy of one of its members is tried on it. Events are in the order of `Events.order_M`, so that each part
is a span of them.
"""

from dataclasses import dataclass

import numpy as np

from models.value.errors import RoundError
from models.value.events import Events

MINIMUM_EVENTS = 256
MINIMUM_DOCUMENTS = 3
"""A stratum with fewer events or documents in a fold takes weights fitted on all strata of that fold: with one or two
documents its own weights were worse out of fold than the joint ones, by 0.01 to 0.02 bit on the standard library."""

Span = tuple[int, int]
"""First event, and the one after the last."""


@dataclass(frozen=True)
class Cell:
    """Weights fitted on the spans `fit` (of `fold`) are used on the spans `use` (of `strata`, in the other fold)."""

    fold: int
    strata: tuple[int, ...]
    fit: tuple[Span, ...]
    use: tuple[Span, ...]


def out_of_fold_cells(events: Events) -> list[Cell]:
    """Cells that cover every (fold, stratum), thin strata joined: at most 2 × (strata + 1).

    Raises RoundError where a fold has no events.
    """
    span = spans_of(events)
    every = range(events.strata)
    cells = []
    for fold in (0, 1):
        whole = tuple(span[fold, stratum] for stratum in every if _length(span[fold, stratum]))
        if not whole:
            raise RoundError(f"fold {fold} has no events: two documents or more are needed")
        for strata, pooled in _groups(events, [fold]):
            fit = whole if pooled else (span[fold, strata[0]],)
            use = tuple(span[1 - fold, stratum] for stratum in strata if _length(span[1 - fold, stratum]))
            cells.append(Cell(fold, strata, fit, use))
    return cells


def flat_cells(events: Events) -> list[Cell]:
    """The same on both folds together, for weights that will be used on text of later epochs. `use` is empty."""
    span = spans_of(events)
    cells = []
    for strata, pooled in _groups(events, [0, 1]):
        fitted = range(events.strata) if pooled else strata
        spans = [span[fold, stratum] for fold in (0, 1) for stratum in fitted]
        cells.append(Cell(0, strata, tuple(part for part in spans if _length(part)), ()))
    return cells


def spans_of(events: Events) -> dict[tuple[int, int], Span]:
    """The span of each fold and stratum."""
    key_D = events.fold_D * events.strata + events.stratum_D
    lengths = np.bincount(key_D, events.events_D, 2 * events.strata).astype(np.int64)
    bounds = np.append(0, np.cumsum(lengths)).tolist()
    return {
        (fold, stratum): (bounds[fold * events.strata + stratum], bounds[fold * events.strata + stratum + 1])
        for fold in (0, 1)
        for stratum in range(events.strata)
    }


def _length(span: Span) -> int:
    return span[1] - span[0]


def _groups(events: Events, folds: list[int]) -> list[tuple[tuple[int, ...], bool]]:
    """Strata with enough text of their own in these folds, one by one, then the thin ones together."""
    among_D = np.isin(events.fold_D, folds)
    count = np.bincount(events.stratum_D[among_D], events.events_D[among_D], events.strata)
    documents = np.bincount(events.stratum_D[among_D], minlength=events.strata)
    thin_S = (count < MINIMUM_EVENTS) | (documents < MINIMUM_DOCUMENTS)
    groups: list[tuple[tuple[int, ...], bool]] = [((stratum,), False) for stratum in np.flatnonzero(~thin_S).tolist()]
    return [*groups, (tuple(np.flatnonzero(thin_S).tolist()), True)] if thin_S.any() else groups

"""What rows say of events, as probabilities relative to each event's largest, read in pieces.

Invariants: row 0 is the baseline; every other row's probability is at least FLOOR of the baseline's, whichever rows it
is mixed with; nothing underflows; pieces are small, whatever the matrix; what fits into KEPT_BYTES is read once.

Legend: N rows (the baseline first), M events, K some rows, m events of one piece.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.value.cells import Span
from models.value.errors import RoundError
from models.value.events import Events

FLOOR = 1e-12
"""A row's probability of an event is at least this part of the baseline's: a miss costs 40 bits more than it."""
LEAST = 1e-140
"""Below this part of an event's largest probability (465 bits) nothing is told apart: squares of ratios stay finite."""
PIECE = 2**20
"""Probabilities in a piece: 8 MB stay near a core, and memory that is freed is used again."""
KEPT_BYTES = 2**30
"""Memory that one set of probabilities may take; larger ones are computed again in every pass."""

LEAD = -1
"""Stands for the lead among the rows of `Table.pieces`."""

Index = NDArray[np.intp]


class Pieces:
    """Rows on events as tensors [K, m] of float64, end to end, as often as asked. `read(index)` yields some rows."""

    def __init__(self, read: Callable[[Index | None], Iterator[Tensor]], rows: int, events: int) -> None:
        self._read = read
        self.rows = rows
        self.events = events

    def __iter__(self) -> Iterator[Tensor]:
        return self._read(None)

    def select(self, index: Index) -> "Pieces":
        """Some of the rows, kept in memory where there is room for them."""
        if index.size * self.events * 8 > KEPT_BYTES:
            return Pieces(lambda more: self._read(index if more is None else index[more]), index.size, self.events)
        return keep(list(self._read(index)))

    def thin(self, step: int) -> "Pieces":
        """Every `step`-th event of each piece."""
        return keep([piece[:, ::step].clone() for piece in self])


def keep(pieces: Sequence[Tensor]) -> Pieces:
    """Pieces that are in memory."""

    def read(index: Index | None) -> Iterator[Tensor]:
        return iter(pieces) if index is None else (piece[torch.from_numpy(index).to(piece.device)] for piece in pieces)

    return Pieces(read, len(pieces[0]), sum(piece.shape[1] for piece in pieces))


class Table:
    """Baseline and rows on events, which are taken in the order of `Events.order_M`; `events` are in that order.

    log_probability_NM: natural logs of the rows without the baseline; a NumPy array, a memory map, a tensor, or what
    else is sliced by [rows, first:last]; float32 or float64, −inf allowed. Raises RoundError where shapes differ, a
    logarithm is above 0 or not a number, or the baseline gives an event no probability.
    """

    def __init__(
        self, log_probability_NM: Any, log_baseline_M: Any, events: Events, device: str | torch.device = "cpu"
    ) -> None:
        self.events = events.ordered()
        self.device = torch.device(device)
        self.rows = 1 + log_probability_NM.shape[0]
        self.size = events.stratum_M.size
        self._source, self._order_M = log_probability_NM, events.order_M
        if log_probability_NM.shape[1] != self.size:
            raise RoundError(f"the rows have {log_probability_NM.shape[1]} events, the columns {self.size}")
        self._baseline_M = self._check_baseline(log_baseline_M)
        self._top_M = torch.empty(self.size, dtype=torch.float64, device=self.device)
        room = self.rows * self.size * 8 <= KEPT_BYTES
        self._kept = torch.empty(self.rows, self.size, dtype=torch.float64, device=self.device) if room else None
        for begin, end in _cut([(0, self.size)], self.rows):
            log_probability = self._read(None, begin, end)
            if not bool((log_probability <= 1e-6).all()):
                raise RoundError("a log-probability is above 0 or not a number")
            self._top_M[begin:end] = log_probability.amax(dim=0)
            if self._kept is not None:
                self._kept[:, begin:end] = self._relative(log_probability, begin, end)

    def walk(
        self, spans: Sequence[Span], rows: Index | None = None, lead_M: Tensor | None = None
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Pieces of rows (None: all) on spans, each with its first event and the one after its last.

        Before the rows, where given, one that is told by event of the table: a mixture.
        """
        count = (self.rows if rows is None else rows.size) + (lead_M is not None)
        for begin, end in _cut(spans, count):
            piece = self._piece(rows, begin, end)
            yield begin, end, piece if lead_M is None else torch.cat([lead_M[None, begin:end], piece])

    def pieces(self, spans: Sequence[Span], rows: Index | None = None, lead_M: Tensor | None = None) -> Pieces:
        """What `walk` yields, as often as asked, and of some rows alone (index 0 is the lead where there is one)."""
        own = np.arange(self.rows) if rows is None else rows
        if lead_M is not None:
            own = np.concatenate([[LEAD], own])

        def read(index: Index | None) -> Iterator[Tensor]:
            wanted = own if index is None else own[index]
            leads = lead_M is not None and wanted.size > 0 and wanted[0] == LEAD
            part = wanted[1:] if leads else wanted
            every = part.size == self.rows and bool((np.diff(part) == 1).all())
            for _, _, piece in self.walk(spans, None if every else part, lead_M if leads else None):
                yield piece

        return Pieces(read, own.size, sum(end - begin for begin, end in spans))

    def mixture(self, weights_K: NDArray[np.float64], rows: Index, spans: Sequence[Span]) -> Tensor:
        """Relative probability of a mixture of rows by event of the table, told on the spans only."""
        mixture_M = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        used = weights_K > 0
        weights = torch.tensor(weights_K[used], dtype=torch.float64, device=self.device)
        for begin, end, piece in self.walk(spans, rows[used]):
            mixture_M[begin:end] = weights @ piece
        return mixture_M

    def _piece(self, rows: Index | None, begin: int, end: int) -> Tensor:
        if self._kept is None:
            return self._relative(self._read(rows, begin, end), begin, end)
        part = self._kept[:, begin:end]
        return part if rows is None else part[torch.from_numpy(rows).to(self.device)]

    def _read(self, rows: Index | None, begin: int, end: int) -> Tensor:
        """Floored natural logs of rows (None: all), baseline as row 0, at some events of the order."""
        order_m = self._order_M[begin:end]
        low, high = int(order_m.min()), int(order_m.max()) + 1
        wanted = slice(None) if rows is None else rows[rows > 0] - 1
        part = self._source[wanted, low:high]
        if high - low != end - begin or (np.diff(order_m) != 1).any():
            at = order_m - low
            is_tensor = isinstance(part, Tensor)
            part = part[:, torch.from_numpy(at).to(part.device)] if is_tensor else np.take(part, at, axis=1)
        part = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part, dtype=np.float64))
        part = part.to(self.device, torch.float64)
        baseline_m = self._baseline_M[begin:end]
        floored = torch.maximum(part, baseline_m + float(np.log(FLOOR)))
        if rows is None:
            return torch.cat([baseline_m[None], floored])
        if (rows > 0).all():
            return floored
        whole = baseline_m.repeat(rows.size, 1)
        whole[torch.from_numpy(rows > 0).to(self.device)] = floored
        return whole

    def _relative(self, log_probability: Tensor, begin: int, end: int) -> Tensor:
        return log_probability.sub_(self._top_M[begin:end]).exp_().clamp_(min=LEAST)

    def _check_baseline(self, log_baseline_M: Any) -> Tensor:
        baseline = torch.as_tensor(log_baseline_M)
        if baseline.shape != (self.size,):
            raise RoundError(f"the baseline has shape {tuple(baseline.shape)}, there are {self.size} events")
        baseline = baseline.to(self.device, torch.float64)[torch.from_numpy(self._order_M).to(self.device)]
        hopeless = torch.nonzero(~(baseline > -torch.inf)).reshape(-1)
        if len(hopeless):
            event = int(self._order_M[int(hopeless[0])])
            raise RoundError(f"the baseline gives no probability to event {event} ({len(hopeless)} such)")
        return baseline


def _cut(spans: Sequence[Span], rows: int) -> Iterator[Span]:
    """Spans in pieces of at most PIECE probabilities."""
    step = max(PIECE // max(rows, 1), 256)
    for begin, end in spans:
        for first in range(begin, end, step):
            yield first, min(first + step, end)

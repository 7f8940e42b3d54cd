"""What rows say of events, as probabilities relative to each event's largest, read in pieces.

Invariants: row 0 is the baseline; every other row's probability is at least FLOOR of the baseline's, whichever rows it
is mixed with; nothing underflows; pieces are small, whatever the matrix; what fits into the device's room is computed
once; what was read is counted.

Legend: N rows (the baseline first), M events, K some rows, m events of one piece, D blocks, C blocks of a piece.
"""

from collections.abc import Iterator, Sequence
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.value.blocks import Blocks
from models.value.cells import Span
from models.value.errors import RoundError
from models.value.events import Events, Whole
from models.value.pieces import Index, Pieces, Reads, empty, kept_bytes, piece_size

FLOOR = 1e-12
"""A row's probability of an event is at least this part of the baseline's: a miss costs 40 bits more than it."""
LEAST = 1e-140
"""Below this part of an event's largest probability (465 bits) nothing is told apart: squares of ratios stay finite."""
RUN = 64
"""Events that follow each other in the source are copied as runs where they are so many on average: at half the time
of taking them one by one."""

LEAD = -1
"""Stands for the lead among the rows of `Table.pieces`."""


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
        self.rows = 1 + int(log_probability_NM.shape[0])
        self.size = int(events.stratum_M.size)
        self.blocks = Blocks(self.events, self.device)
        self.reads = Reads()
        self.piece = piece_size(self.device)
        self._room = kept_bytes(self.device)
        host = isinstance(log_probability_NM, Tensor) and log_probability_NM.device.type == "cpu"
        self._source, self._order_M = log_probability_NM.numpy() if host else log_probability_NM, events.order_M
        if log_probability_NM.shape[1] != self.size:
            raise RoundError(f"the rows have {log_probability_NM.shape[1]} events, the columns {self.size}")
        self._at_M = _on_device(events.runs, self.size, self.device)
        self._baseline_M = self._check_baseline(log_baseline_M)
        self._top_M = torch.empty(self.size, dtype=torch.float64, device=self.device)
        room = self.rows * self.size * 8 <= self._room
        self._kept = empty(self.rows, self.size, self.device) if room else None
        for begin, end in self._cut([(0, self.size)], self.rows):
            part = self._read(slice(None), begin, end)
            baseline_m = self._baseline_M[begin:end]
            top_m = torch.maximum(part.amax(dim=0), baseline_m) if len(part) else baseline_m
            self._top_M[begin:end] = top_m
            if self._kept is not None:
                self._kept[0, begin:end] = self._baseline(begin, end)
                self._relative(part, begin, end, self._kept[1:, begin:end])
        if not bool((self._top_M <= 1e-6).all()):
            raise RoundError("a log-probability is above 0 or not a number")

    @property
    def passes(self) -> float:
        """How many times all probabilities were taken in hand, some of them more often than others."""
        return self.reads.probabilities / (self.rows * self.size)

    def walk(
        self, spans: Sequence[Span], rows: Index | None = None, lead_M: Tensor | None = None
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Pieces of rows (None: all) on spans, each with its first event and the one after its last.

        Before the rows, where given, one that is told by event of the table: a mixture.
        """
        at = None if rows is None else torch.from_numpy(rows).to(self.device)
        count = (self.rows if rows is None else rows.size) + (lead_M is not None)
        for begin, end in self._cut(spans, count):
            self.reads.probabilities += count * (end - begin)
            if lead_M is None:
                yield begin, end, self._piece(rows, at, begin, end)
                continue
            piece = empty(count, end - begin, self.device)
            piece[0] = lead_M[begin:end]
            self._piece(rows, at, begin, end, piece[1:])
            yield begin, end, piece

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

        events = sum(end - begin for begin, end in spans)
        return Pieces(read, own.size, events, self.device, self.reads, self._room)

    def mixture(self, weights_K: NDArray[np.float64], rows: Index, spans: Sequence[Span]) -> Tensor:
        """Relative probability of a mixture of rows by event of the table, told on the spans only."""
        mixture_M = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        used = weights_K > 0
        weights = torch.tensor(weights_K[used], dtype=torch.float64, device=self.device)
        for begin, end, piece in self.walk(spans, rows[used]):
            mixture_M[begin:end] = weights @ piece
        return mixture_M

    def _piece(self, rows: Index | None, at: Tensor | None, begin: int, end: int, into: Tensor | None = None) -> Tensor:
        """All rows, or some of them (`rows` and `at` are the same; the baseline first), at some events; written where
        told."""
        if self._kept is not None:
            part = self._kept[:, begin:end]
            if at is None:
                return part if into is None else into.copy_(part)
            into = empty(len(at), end - begin, self.device) if into is None else into
            return torch.index_select(part, 0, at, out=into)
        wanted = np.arange(1, self.rows) if rows is None else rows[rows > 0]
        count = self.rows if rows is None else rows.size
        piece = empty(count, end - begin, self.device) if into is None else into
        piece[: count - wanted.size] = self._baseline(begin, end)
        part = self._read(slice(None) if rows is None else wanted - 1, begin, end)
        self._relative(part, begin, end, piece[count - wanted.size :])
        return piece

    def _read(self, wanted: slice | Index, begin: int, end: int) -> Tensor:
        """Natural logs of some of the source's rows at some events of the order, as the source has them."""
        if isinstance(self._source, Tensor):
            at_m = self._at_M[begin:end].to(self._source.device)
            if isinstance(wanted, slice):
                return self._source.index_select(1, at_m).to(self.device)
            picked: Tensor = self._source[torch.from_numpy(wanted).to(at_m.device)[:, None], at_m]
            return picked.to(self.device)
        order_m = self._order_M[begin:end]
        low, high = int(order_m.min()), int(order_m.max()) + 1
        runs = np.split(order_m, np.flatnonzero(np.diff(order_m) != 1) + 1)
        if RUN * len(runs) <= order_m.size:
            taken = np.concatenate([self._source[:, run[0] : run[-1] + 1][wanted] for run in runs], axis=1)
        else:
            taken = np.take(self._source[wanted, low:high], order_m - low, axis=1)
        return torch.from_numpy(taken).to(self.device)

    def _relative(self, part: Tensor, begin: int, end: int, into: Tensor) -> None:
        """Write what rows' natural logs [K, m] are relative to the events' largest, above the floor."""
        if not len(part):
            return
        top_m, baseline_m = self._top_M[begin:end], self._baseline_M[begin:end]
        lowest = part.amin()
        if self.device.type == "cuda":
            torch.sub(part, top_m, out=into).exp_()
        else:  # of two types it takes a processor longer than one after the other
            into.copy_(part).sub_(top_m).exp_()
        floor_m = (baseline_m + log(FLOOR) - top_m).exp_().clamp_(min=LEAST)
        if bool(lowest < (floor_m.log() + top_m).amax()):
            torch.maximum(into, floor_m, out=into)

    def _baseline(self, begin: int, end: int) -> Tensor:
        return (self._baseline_M[begin:end] - self._top_M[begin:end]).exp_().clamp_(min=LEAST)

    def _check_baseline(self, log_baseline_M: Any) -> Tensor:
        baseline = torch.as_tensor(log_baseline_M)
        if baseline.shape != (self.size,):
            raise RoundError(f"the baseline has shape {tuple(baseline.shape)}, there are {self.size} events")
        baseline = baseline.to(self.device, torch.float64)[self._at_M]
        hopeless = torch.nonzero(~(baseline > -torch.inf)).reshape(-1)
        if len(hopeless):
            event = int(self._order_M[int(hopeless[0])])
            raise RoundError(f"the baseline gives no probability to event {event} ({len(hopeless)} such)")
        return baseline

    def _cut(self, spans: Sequence[Span], rows: int) -> Iterator[Span]:
        """Spans in pieces of at most so many probabilities."""
        step = max(self.piece // max(rows, 1), 256)
        for begin, end in spans:
            for first in range(begin, end, step):
                yield first, min(first + step, end)


def _on_device(runs: tuple[Whole, Whole], events: int, device: torch.device) -> Tensor:
    """The order [M] of events on a device, from its runs: these are few, and quickly there."""
    first_R, length_R = runs
    shift = torch.from_numpy(first_R - np.cumsum(length_R) + length_R).to(device)
    return torch.arange(events, device=device) + shift.repeat_interleave(
        torch.from_numpy(length_R).to(device), output_size=events
    )

"""Sums by block over the events of a table, as products: the events of a block are next to each other there.

Invariants: the rows are not copied; a sum is the same every time, for nothing is added up in the order of arrival.

Legend: K rows, m events of a piece, D blocks in the order of the table, C blocks of a part.
"""

import numpy as np
import torch
from torch import Tensor

from models.value.events import Array, Events
from models.value.products import over_events

COLUMNS = {"cpu": 16, "cuda": 64}
"""Blocks that are summed in one product. Each costs a multiplication of every probability; a GPU has time for more of
them while it reads, and would wait for many small products."""
LEAST_EVENTS = 512
"""Events of one product at least, however many blocks they belong to."""


class Blocks:
    """The blocks of events that are in the order of a table."""

    def __init__(self, events: Events, device: torch.device) -> None:
        self._events, self._device = events, device
        order_D = np.lexsort((np.arange(events.blocks), events.stratum_D, events.fold_D))
        self._number_D = order_D[events.events_D[order_D] > 0]
        ends_D = np.cumsum(events.events_D[self._number_D])
        self._starts_D = ends_D - events.events_D[self._number_D]
        lengths_D = torch.from_numpy(events.events_D[self._number_D]).to(device)
        rank_D = torch.arange(self._number_D.size, device=device)
        self._rank_M = rank_D.repeat_interleave(lengths_D, output_size=events.block_M.size)

    def zeros(self, rows: int) -> Tensor:
        """Room for sums [K, D]."""
        return torch.zeros(rows, self._starts_D.size, dtype=torch.float64, device=self._device)

    def add(self, into_KD: Tensor, begin: int, rows_Km: Tensor, value_m: Tensor) -> None:
        """Add, by block, rows times a value of each event, at the events from `begin` on."""
        first, end = begin, begin + rows_Km.shape[1]
        while first < end:
            low = self._rank(first)
            last = min(end, max(first + LEAST_EVENTS, self._start(low + COLUMNS[self._device.type])))
            high = self._rank(last - 1) + 1
            part = slice(first - begin, last - begin)
            column_m1 = (self._rank_M[first:last] - low)[:, None]
            value_mC = torch.zeros(last - first, high - low, dtype=torch.float64, device=self._device)
            value_mC.scatter_(1, column_m1, value_m[part, None])
            into_KD[:, low:high] += over_events(rows_Km[:, part], value_mC)
            first = last

    def numbered(self, sums_KD: Tensor) -> Array:
        """Sums [K, D] by the blocks' own numbers."""
        found_KD = np.zeros((len(sums_KD), self._events.blocks))
        found_KD[:, self._number_D] = sums_KD.cpu().numpy()
        return found_KD

    def _rank(self, event: int) -> int:
        return int(np.searchsorted(self._starts_D, event, side="right")) - 1

    def _start(self, rank: int) -> int:
        return int(self._starts_D[rank]) if rank < self._starts_D.size else self._events.block_M.size

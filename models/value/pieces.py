"""Rows on events in pieces, as often as asked; how large a piece is on a device, and how much it keeps.

Invariants: a piece is so large that what starts work on it costs nothing beside the work, and so small that what is
computed from it fits beside it; every probability that is taken in hand is counted.

Legend: N rows, M events, K some rows, m events of one piece.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.host.device import free_bytes

PIECE = 2**20
"""Probabilities in a piece: 8 MB stay near a core, and memory that is freed is used again."""
GPU_PIECE = 2**25
"""On a GPU: 268 MB, which even the quickest reads in some 50 µs, ten times what starting the work takes."""
KEPT_BYTES = 2**30
"""Memory that one set of probabilities may take; larger ones are computed again in every pass."""

Index = NDArray[np.intp]


def piece_size(device: torch.device) -> int:
    """Probabilities in a piece on this device: on a GPU fewer where 32 times their bytes are not free."""
    if device.type != "cuda":
        return PIECE
    return max(PIECE, min(GPU_PIECE, free_bytes(device) // (32 * 8)))


def kept_bytes(device: torch.device) -> int:
    """Memory that one set of probabilities may take on this device: on a GPU a third of what it may still allocate."""
    return free_bytes(device) // 3 if device.type == "cuda" else KEPT_BYTES


def empty(rows: int, events: int, device: torch.device) -> Tensor:
    """Room for probabilities. NumPy asks Linux for large pages where torch does not: without them the first writing of
    what is kept took longer than its exponentials."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty((rows, events)))
    return torch.empty(rows, events, dtype=torch.float64, device=device)


@dataclass
class Reads:
    """How many probabilities were taken in hand, each time counted."""

    probabilities: int = 0


@dataclass(frozen=True)
class Pieces:
    """Rows on events as tensors [K, m] of float64, end to end, as often as asked.

    read: yields some rows (None: all), and counts them in `reads`. room_bytes: what `select` may keep.
    """

    read: Callable[[Index | None], Iterator[Tensor]]
    rows: int
    events: int
    device: torch.device
    reads: Reads
    room_bytes: int

    def __iter__(self) -> Iterator[Tensor]:
        return self.read(None)

    def select(self, index: Index) -> "Pieces":
        """Some of the rows, kept in memory where there is room for them."""
        if index.size * self.events * 8 > self.room_bytes:
            read = self.read
            return self._of(lambda more: read(index if more is None else index[more]), index.size, self.events)
        return self._keep(list(self.read(index)))

    def _keep(self, pieces: Sequence[Tensor]) -> "Pieces":
        def read(index: Index | None) -> Iterator[Tensor]:
            at = None if index is None else torch.from_numpy(index).to(self.device)
            for piece in pieces:
                self.reads.probabilities += piece.numel() if index is None else index.size * piece.shape[1]
                yield piece if at is None else piece.index_select(0, at)

        return self._of(read, len(pieces[0]), sum(piece.shape[1] for piece in pieces))

    def _of(self, read: Callable[[Index | None], Iterator[Tensor]], rows: int, events: int) -> "Pieces":
        return Pieces(read, rows, events, self.device, self.reads, self.room_bytes)

"""Products that sum over events: of few rows, on a GPU, in parts beside each other.

Invariants: a sum is the same every time.

Legend: K rows, m events of a piece, C columns.
"""

import torch
from torch import Tensor

PART = 4096
"""Events of a part. What comes out of such a product is small: whole it would be work for a few of a GPU's units, each
of which goes through all events; parts are work for all of them."""


def over_events(rows_Km: Tensor, values_mC: Tensor) -> Tensor:
    """rows @ values [K, C]."""
    if rows_Km.device.type == "cpu" or rows_Km.shape[1] < 2 * PART:
        return rows_Km @ values_mC
    return in_parts(rows_Km, values_mC)


def in_parts(rows_Km: Tensor, values_mC: Tensor) -> Tensor:
    """The same as one product of parts of the events, and their sum."""
    events = rows_Km.shape[1]
    parts = events // PART
    whole = parts * PART
    rows = rows_Km[:, :whole].view(-1, parts, PART).transpose(0, 1)
    total_KC = torch.bmm(rows, values_mC[:whole].view(parts, PART, -1)).sum(dim=0)
    return total_KC if whole == events else total_KC + rows_Km[:, whole:] @ values_mC[whole:]


def each_over_events(rows_Km: Tensor, value_m: Tensor) -> Tensor:
    """rows @ value [K]."""
    return rows_Km @ value_m if rows_Km.device.type == "cpu" else over_events(rows_Km, value_m[:, None])[:, 0]

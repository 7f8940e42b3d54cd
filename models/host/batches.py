"""Batches: token sequences of unlike lengths in few padded rectangles, and no token predicted twice.

Invariants: every token but a window's first is predicted once; with stride S and a context of L tokens, by at least
L - S + 1 tokens before it where there are so many.

Shapes: W windows, C tokens of all of them, S spans, B rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PADDED_SHARE = 1 / 16
"""Of a batch's tokens. Of random windows of 129 and 513 bytes of Python in batches of 8,192 tokens, 0.17 to 0.39 were
padding without it, and 0.06 to 0.08 with it; in batches of 131,072 it was 0.30 to 0.47. In a CPU's batches of 2,048 the
time stayed as it was (0.9 to 1.07). Rows laid end to end, without any padding, could save a sixteenth more at most."""


class Span(NamedTuple):
    """What one row of a batch reads, as indices into all tokens: inputs `first` to `last` (exclusive).

    The tokens from `target` on to `last` (inclusive) are predicted, each from those before it.
    """

    first: int
    last: int
    target: int

    @property
    def length(self) -> int:
        """How many tokens are read."""
        return self.last - self.first


def cut_spans(start_W: npt.NDArray[np.int64], context: int, stride: int) -> list[Span]:
    """The spans that predict every token of every window but its first.

    A window of more than `context` + 1 tokens is read in overlapping spans of `context` tokens: the first predicts all
    it can, each later one the next `stride` (at most `context`), and ends where its predictions end. A stride of
    `context` gives the disjoint windows of lm-evaluation-harness.
    """
    spans = []
    for begin, end in zip(start_W[:-1].tolist(), start_W[1:].tolist(), strict=True):
        done = begin
        while done < end - 1:
            last = min(done + (context if done == begin else stride), end - 1)
            spans.append(Span(max(begin, last - context), last, done + 1))
            done = last
    return spans


def next_batch(lengths: Sequence[int], first: int, batch_tokens: int, least_tokens: int = 0) -> int:
    """Where the batch that begins at row `first` ends, rows being sorted by falling length; at least one row.

    Of its padded tokens at most `PADDED_SHARE` are padding, unless there are no more than `least_tokens`.
    """
    width = max(1, lengths[first])
    length_R = np.array(lengths[first : first + max(1, batch_tokens // width)], np.int64)
    padded_R = width * np.arange(1, len(length_R) + 1)
    fits_R = (padded_R <= least_tokens) | (padded_R - np.cumsum(length_R) <= PADDED_SHARE * padded_R)
    # Rows fall in length, so the share of padding rises with each.
    return first + max(1, int(np.count_nonzero(fits_R)))


def pad(token_C: npt.NDArray[np.int32], spans: Sequence[Span]) -> npt.NDArray[np.int64]:
    """The inputs of some spans, int64 [B, T], zeros at the right: what comes later changes nothing before it."""
    token_BT = np.zeros((len(spans), max(span.length for span in spans)), np.int64)
    for row, span in enumerate(spans):
        token_BT[row, : span.length] = token_C[span.first : span.last]
    return token_BT


def places(spans: Sequence[Span], width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which positions of a padded batch (row · width + column) predict, and which tokens come there."""
    counts = np.array([span.last - span.target + 1 for span in spans], np.int64)
    target = np.concatenate([np.arange(span.target, span.last + 1, dtype=np.int64) for span in spans])
    shift = np.array([row * width - 1 - span.first for row, span in enumerate(spans)], np.int64)
    return target + np.repeat(shift, counts), target

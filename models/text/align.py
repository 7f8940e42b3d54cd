"""Alignment: what models with unlike tokenizers say of the same text becomes log-probabilities of common segments.

Invariants: a segment lies between two cuts that every kept model makes, both on UTF-8 character boundaries, and its
log-probability is the sum of what the model says of its bytes, so nothing is lost or counted twice from a window's
first common cut to its last; models in another order give rows in another order and nothing else.

Shapes: W windows, C cuts of one model, E bytes predicted, N models, M events, K places (every offset of every window,
0 and the end included).
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import ModelRefused

Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Group = tuple[int, bytes]
"""Models that cut alike: how many cuts they make, negative, and a hash of where."""

COARSEST_BYTES = 16
"""Mean bytes of an event above which a tokenizer, or the round with it, is too coarse to tell models apart."""
ORDINARY_BYTES = 8
"""Up to this mean, what a tokenizer costs the round is the price of comparing unlike tokenizers: one alone cuts every 3
to 5 bytes, so beside models of bytes it already leaves a fourth of the events, and without it there were 4 times as
many; it must not go for that."""
COSTLY = 1.5
"""Beyond it, a model goes without which the round had over this many times the events."""


@dataclass(frozen=True)
class Scores:
    """What one model says of W windows.

    cut_C: int32, byte offsets of its cuts, ascending within a window, windows end to end. start_W: int64 [W+1], where
    each window's cuts begin in `cut_C`. log_probability_C: float32, the natural log-probability of the span from the
    previous cut to this one; 0 at a window's first cut, where its context ends and prediction begins.
    """

    cut_C: npt.NDArray[np.int32]
    start_W: npt.NDArray[np.int64]
    log_probability_C: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Segments:
    """M events common to N models.

    log_probability_NM: float64, natural, of the kept rows. kept: their indices among the models given, ascending.
    window_M, offset_M, bytes_M: int32, where an event begins and how long it is. refused: by index, with code
    `coarse_tokenizer`.
    """

    log_probability_NM: npt.NDArray[np.float64]
    kept: tuple[int, ...]
    window_M: npt.NDArray[np.int32]
    offset_M: npt.NDArray[np.int32]
    bytes_M: npt.NDArray[np.int32]
    refused: dict[int, ModelRefused]


def byte_scores(log_probability_WE: npt.NDArray[np.float32]) -> Scores:
    """Of a model of bytes: [W, E] of each byte from the second on, E = T-1, whose cuts are 1 to T in every window."""
    windows, predicted = log_probability_WE.shape
    cut_C = np.tile(np.arange(1, predicted + 2, dtype=np.int32), windows)
    log_probability_C = np.pad(np.asarray(log_probability_WE, np.float32), ((0, 0), (1, 0))).ravel()
    return Scores(cut_C, np.arange(windows + 1, dtype=np.int64) * (predicted + 1), log_probability_C)


def take_windows(scores: Scores, first: int, last: int) -> Scores:
    """The windows from `first` to `last` (exclusive)."""
    begin, end = int(scores.start_W[first]), int(scores.start_W[last])
    cuts = slice(begin, end)
    return Scores(scores.cut_C[cuts], scores.start_W[first : last + 1] - begin, scores.log_probability_C[cuts])


def join_scores(parts: Sequence[Scores]) -> Scores:
    """The windows of all parts, one after another."""
    begins = np.cumsum([0, *(len(part.cut_C) for part in parts)])
    starts = [part.start_W[:-1] + begin for part, begin in zip(parts, begins, strict=False)]
    return Scores(
        np.concatenate([part.cut_C for part in parts]),
        np.concatenate([*starts, begins[-1:]]).astype(np.int64),
        np.concatenate([part.log_probability_C for part in parts]),
    )


def align(
    scores: Sequence[Scores],
    texts: Sequence[bytes],
    *,
    protected: Collection[int] = (),
    allocate: Callable[[tuple[int, int]], npt.NDArray[np.float64]] = np.empty,
) -> Segments:
    """The events that all models share, without those whose tokenizer is too coarse.

    A model is refused if its own cuts leave under one event per 16 bytes. Where the round has under one event per 8
    bytes, the model goes without which it had most events, if those are over 1.5 times as many or the round has under
    one per 16; models that cut alike go together; and so on until none is to go. None goes for the round's sake that
    cuts as a `protected` one does, by index. `allocate` makes the matrix of a shape, which may be a memory map: beside
    it, memory holds one model's cuts at a time. Raises ValueError where a model's cuts are not of these texts.
    """
    places = Places.of(texts)
    refused: dict[int, ModelRefused] = {}
    group_N: list[Group] = []
    for index, row in enumerate(scores):
        place_C = places.of_cuts(row)
        group_N.append((-len(place_C), hashlib.blake2b(place_C.data, digest_size=32).digest()))
        events = places.events(places.mark(place_C))
        if events * COARSEST_BYTES < places.text_bytes:
            refused[index] = ModelRefused(
                "coarse_tokenizer",
                f"its tokens leave {events:,} events in {places.text_bytes:,} bytes, one per {COARSEST_BYTES} bytes is "
                "the least: use a tokenizer with shorter tokens",
            )
    kept = [index for index in range(len(scores)) if index not in refused]
    common_K = refuse_costly(places, scores, group_N, kept, refused, protected)
    place_M, bytes_M = places.segments(common_K)
    log_probability_NM = allocate((len(kept), len(place_M)))
    for number, index in enumerate(kept):
        common_C = common_K[places.of_cuts(scores[index])]
        log_probability_NM[number] = sum_segments(scores[index], common_C, common_K, places)
    window_M = np.searchsorted(places.start_W, place_M, side="right") - 1
    offset_M = place_M - places.start_W[window_M]
    return Segments(
        log_probability_NM, tuple(kept), window_M.astype(np.int32), offset_M.astype(np.int32), bytes_M, refused
    )


def lay_on(segments: Segments, scores: Scores, texts: Sequence[bytes]) -> npt.NDArray[np.float64] | None:
    """Another model's log-probabilities float64 [M] of the same events; None where it does not cut at their ends."""
    places = Places.of(texts)
    first_M = places.start_W[segments.window_M] + segments.offset_M
    common_K = np.zeros(len(places.boundary_K), np.bool_)
    common_K[first_M] = common_K[first_M + segments.bytes_M] = True
    place_C = places.of_cuts(scores)
    common_C = common_K[place_C]
    if np.count_nonzero(common_C) < np.count_nonzero(common_K):
        return None
    return sum_segments(scores, common_C, common_K, places)


def baseline_row(
    segments: Segments, texts: Sequence[bytes], baseline_256: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Natural log-probability float64 [M] of each event under byte frequencies, given as natural logs [256]."""
    places = Places.of(texts)
    # One more than there are bytes in each window, as there are places; what stands at a window's end is in no event.
    text_K = np.frombuffer(b"".join(text + b"\0" for text in texts), np.uint8)
    first_M = places.start_W[segments.window_M] + segments.offset_M
    bounds = np.stack([first_M, first_M + segments.bytes_M], 1).ravel()
    return np.add.reduceat(np.asarray(baseline_256, np.float64)[text_K], bounds)[::2] if len(bounds) else np.zeros(0)


@dataclass(frozen=True)
class Places:
    """Every offset of every window in one row. start_W: int64 [W+1]; boundary_K: offsets where a character ends."""

    start_W: Integers
    boundary_K: Mask
    text_bytes: int

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "Places":
        """The places of these windows, one more than a window has bytes."""
        length_W = np.array([len(text) for text in texts], np.int64)
        start_W = np.concatenate([[0], np.cumsum(length_W + 1)])
        text_K = np.frombuffer(b"".join(text + b"\0" for text in texts), np.uint8)
        boundary_K = (text_K & 0xC0) != 0x80
        boundary_K[[int(end) - 1 for end, text in zip(start_W[1:], texts, strict=True) if ends_within(text)]] = False
        return cls(start_W, boundary_K, int(length_W.sum()))

    def of_cuts(self, scores: Scores) -> Integers:
        """The place of each cut, int64 [C]."""
        if len(scores.start_W) != len(self.start_W) or scores.start_W[-1] != len(scores.cut_C):
            raise ValueError(f"cuts of {len(scores.start_W) - 1} windows, there are {len(self.start_W) - 1}")
        cuts_W = np.diff(scores.start_W)
        place_C = scores.cut_C.astype(np.int64) + np.repeat(self.start_W[:-1], cuts_W)
        beyond = (place_C >= np.repeat(self.start_W[1:], cuts_W)).any() or (scores.cut_C < 0).any()
        if beyond or (np.diff(place_C) <= 0).any():
            raise ValueError("cuts must ascend within their windows")
        return place_C

    def mark(self, place_C: Integers) -> Mask:
        """The character boundaries among these places, bool [K]."""
        mark_K = np.zeros(len(self.boundary_K), np.bool_)
        mark_K[place_C] = True
        return mark_K & self.boundary_K

    def events(self, mark_K: Mask) -> int:
        """How many events lie between marks of one window."""
        if not len(mark_K):
            return 0
        return int(np.count_nonzero(mark_K) - np.count_nonzero(np.logical_or.reduceat(mark_K, self.start_W[:-1])))

    def segments(self, mark_K: Mask) -> tuple[Integers, npt.NDArray[np.int32]]:
        """Where each event between marks begins, int64 [M], and its bytes, int32 [M]."""
        marked = np.flatnonzero(mark_K)
        inside = self.inside(marked)
        return marked[:-1][inside], np.diff(marked)[inside].astype(np.int32)

    def inside(self, marked: Integers) -> Mask:
        """Which neighbours among marked places are of one window."""
        window = np.searchsorted(self.start_W, marked, side="right")
        inside: Mask = window[1:] == window[:-1]
        return inside


def ends_within(text: bytes) -> bool:
    """Whether the last character of `text` lacks bytes."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:
            return back < 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
    return False


def refuse_costly(
    places: Places,
    scores: Sequence[Scores],
    group_N: Sequence[Group],
    kept: list[int],
    refused: dict[int, ModelRefused],
    protected: Collection[int],
) -> Mask:
    """The places where all kept models cut, bool [K], after those that cost the round too much went from `kept`."""
    while True:
        groups: dict[Group, list[int]] = {}
        for index in kept:
            groups.setdefault(group_N[index], []).append(index)
        count_K = np.zeros(len(places.boundary_K), np.int32)
        for members in groups.values():
            count_K[places.of_cuts(scores[members[0]])] += 1
        common_K: Mask = places.boundary_K & (count_K == max(1, len(groups)))
        events = places.events(common_K)
        if len(groups) < 2 or events * ORDINARY_BYTES >= places.text_bytes:
            return common_K
        without = {
            key: places.events(
                places.boundary_K & (count_K - places.mark(places.of_cuts(scores[members[0]])) == len(groups) - 1)
            )
            for key, members in groups.items()
            if not any(index in protected for index in members)
        }
        if not without:
            return common_K
        worst = max(without, key=lambda key: (without[key], key))
        if without[worst] <= COSTLY * events and events * COARSEST_BYTES >= places.text_bytes:
            return common_K
        for index in groups[worst]:
            kept.remove(index)
            refused[index] = ModelRefused(
                "coarse_tokenizer",
                f"with it the round has {events:,} events in {places.text_bytes:,} bytes, without it "
                f"{without[worst]:,}: use a tokenizer that cuts where the others do",
            )


def sum_segments(scores: Scores, common_C: Mask, common_K: Mask, places: Places) -> npt.NDArray[np.float64]:
    """The model's log-probability of each event between common places, float64 [M]. −inf and NaN stay in theirs."""
    index = np.flatnonzero(common_C)
    if len(index) < 2:
        return np.zeros(0)
    sums = np.add.reduceat(scores.log_probability_C[: index[-1] + 1].astype(np.float64), index[:-1] + 1)
    inside: npt.NDArray[np.float64] = sums[places.inside(np.flatnonzero(common_K))]
    return inside

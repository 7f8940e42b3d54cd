"""Drawing text from a seed: windows of held-out text for a validator, pages of training text for a peer.

Invariants: a draw is a function of the corpus' content and the seed, the same on every machine and NumPy build
(integers from SHAKE-256, no floats); a slice never crosses a document; windows of one draw never overlap; all windows
of a document lie in one fold, and the folds of each stratum differ by at most one document's windows.

Shapes: W windows (or pages), T bytes of each, D documents.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import TextError
from models.text.corpus import Bytes, Corpus

WINDOW_DOMAIN = b"taoray windows 1\x00"
PAGE_DOMAIN = b"taoray pages 1\x00"

Integers = npt.NDArray[np.int64]


class Windows(NamedTuple):
    """A validator's sample: text uint8 [W, T], and for each window its document, offset, stratum and fold (0 or 1)."""

    text_WT: Bytes
    document_W: npt.NDArray[np.int32]
    offset_W: Integers
    stratum_W: npt.NDArray[np.int16]
    fold_W: npt.NDArray[np.int8]
    document_hash_W: Bytes

    def ids(self) -> list[tuple[bytes, int, int]]:
        """For each window the hash of its document, its offset there, its length."""
        length = self.text_WT.shape[1]
        return [
            (digest.tobytes(), int(offset), length)
            for digest, offset in zip(self.document_hash_W, self.offset_W, strict=True)
        ]


def draw_windows(corpus: Corpus, seed: bytes, *, windows: int, window_bytes: int) -> Windows:
    """Exactly `windows` slices of held-out text: strata by their size, none below half of an equal share.

    Raises TextError where the held-out text has fewer windows.
    """
    members = [corpus.held_out[corpus.stratum_D[corpus.held_out] == number] for number in range(len(corpus.strata))]
    cells = [int((corpus.length_D[documents] // window_bytes).sum()) for documents in members]
    if sum(cells) < windows:
        raise TextError(
            "data.paths",
            f"held-out text has {sum(cells):,} windows of {window_bytes} bytes, {windows:,} are wanted: add text",
        )
    picks = [
        draw_cells(corpus.length_D[documents], Draw(WINDOW_DOMAIN, seed, number), wanted, window_bytes)
        for number, (documents, wanted) in enumerate(zip(members, allot_windows(cells, windows), strict=True))
    ]
    document_W = np.concatenate([documents[rows] for documents, (rows, _) in zip(members, picks, strict=True)])
    offset_W = np.concatenate([offsets for _, offsets in picks])
    stratum_W = corpus.stratum_D[document_W]
    hashes = {int(document): corpus.document_hash(int(document)) for document in document_W}
    fold_W = assign_folds([(int(s), hashes[int(d)]) for s, d in zip(stratum_W, document_W, strict=True)], seed)
    document_hash_W = np.array([list(hashes[int(document)]) for document in document_W], np.uint8)
    text_WT = cut_slices(corpus, document_W, offset_W, window_bytes)
    return Windows(text_WT, document_W, offset_W, stratum_W, fold_W, document_hash_W)


def draw_pages(corpus: Corpus, seed: bytes, *, strata: Sequence[str] | None, pages: int, page_bytes: int) -> Bytes:
    """Training text uint8 [pages, page_bytes] of the named strata (None: of all), every byte equally likely.

    Pages repeat only when the text has fewer of them. Raises TextError for an unknown stratum or no document of that
    length.
    """
    unknown = sorted(set(strata or ()) - set(corpus.strata))
    if unknown:
        raise TextError("strata", f"no stratum {unknown[0]!r} in this corpus, only {', '.join(corpus.strata)}")
    wanted = [corpus.strata.index(name) for name in (corpus.strata if strata is None else strata)]
    documents = corpus.training[np.isin(corpus.stratum_D[corpus.training], wanted)]
    lengths = corpus.length_D[documents]
    if not pages or not int((lengths // page_bytes).sum()):
        raise TextError("strata", f"no training document of {page_bytes} bytes or more in {strata or corpus.strata}")
    rows, offsets = draw_cells(lengths, Draw(PAGE_DOMAIN, seed, 0), pages, page_bytes)
    return cut_slices(corpus, documents[rows], offsets, page_bytes)


class Draw(NamedTuple):
    """A source of integers: what for, from which seed, for which part."""

    domain: bytes
    seed: bytes
    part: int

    def integers(self, label: int, count: int) -> npt.NDArray[np.uint64]:
        """`count` 64-bit integers, little-endian, from SHAKE-256 over domain, part, label and seed."""
        stream = hashlib.shake_256(self.domain + self.part.to_bytes(4, "big") + label.to_bytes(4, "big") + self.seed)
        return np.frombuffer(stream.digest(8 * count), "<u8").astype(np.uint64)


def draw_cells(length_D: Integers, draw: Draw, count: int, width: int) -> tuple[Integers, Integers]:
    """`count` slices of `width` bytes from documents of these lengths: rows into `length_D`, and offsets.

    Each document is cut into cells from a drawn beginning on; cells are drawn without replacement, and where there
    are too few of them, again from another beginning.
    """
    cells_D = length_D // width
    ends_D = np.cumsum(cells_D)
    total = int(ends_D[-1]) if len(ends_D) else 0
    rows, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    label = drawn = 0
    while drawn < count:
        slack_D = length_D - cells_D * width + 1
        phase_D = (draw.integers(label, len(length_D)) % slack_D.astype(np.uint64)).astype(np.int64)
        cells, label = draw_distinct(draw, label + 1, min(count - drawn, total), total)
        row = np.searchsorted(ends_D, cells, side="right")
        rows.append(row)
        offsets.append(phase_D[row] + (cells - (ends_D - cells_D)[row]) * width)
        drawn += len(cells)
    return np.concatenate(rows), np.concatenate(offsets)


def draw_distinct(draw: Draw, label: int, count: int, total: int) -> tuple[Integers, int]:
    """`count` distinct integers below `total` in drawn order, and the next free label."""
    cells = np.empty(0, np.int64)
    while len(cells) < count:
        # Half again as many as wanted: repeats are seldom unless nearly all cells are drawn.
        fresh = (draw.integers(label, count + count // 2 + 8) % np.uint64(total)).astype(np.int64)
        cells = np.concatenate([cells, fresh])
        cells = cells[np.sort(np.unique(cells, return_index=True)[1])]
        label += 1
    return cells[:count], label


def allot_windows(cells: list[int], windows: int) -> list[int]:
    """How many windows each stratum gives, by its cells: at most what it has, else at least half of an equal share."""
    given = [min(windows // (2 * len(cells)), number) for number in cells]
    for _ in range(windows - sum(given)):
        # Jefferson's method in integers: the next window goes where cells per window are most.
        claim = [(number << 32) // (has + 1) if has < number else -1 for number, has in zip(cells, given, strict=True)]
        given[claim.index(max(claim))] += 1
    return given


def assign_folds(windows: list[tuple[int, bytes]], seed: bytes) -> npt.NDArray[np.int8]:
    """Fold 0 or 1 of each window, given as (stratum, document hash): by document, balanced in each stratum.

    Documents come in order of their windows, most first, then by a hash keyed with the seed; each goes to the lighter
    fold of its stratum, else to the lighter of all, else to the one its hash names.
    """
    counts = Counter(windows)
    keys = {
        window: hashlib.blake2b(window[1], key=hashlib.blake2b(seed).digest(), digest_size=8).digest()
        for window in counts
    }
    fold_of: dict[tuple[int, bytes], int] = {}
    weight: Counter[tuple[int, int]] = Counter()
    total = [0, 0]
    for window in sorted(counts, key=lambda window: (-counts[window], keys[window])):
        lean = weight[window[0], 1] - weight[window[0], 0] or total[1] - total[0]
        fold = int(lean < 0) if lean else keys[window][0] & 1
        fold_of[window] = fold
        weight[window[0], fold] += counts[window]
        total[fold] += counts[window]
    return np.array([fold_of[window] for window in windows], np.int8)


def cut_slices(corpus: Corpus, documents: npt.NDArray[np.int32], offsets: Integers, width: int) -> Bytes:
    """The text of each slice, uint8 [W, width]."""
    text_WT = np.empty((len(documents), width), np.uint8)
    for row, (document, offset) in enumerate(zip(documents, offsets, strict=True)):
        text_WT[row] = corpus.bytes_of(int(document))[offset : offset + width]
    return text_WT

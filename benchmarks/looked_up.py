"""How often does an honest model know, above 0.99, a byte that nobody else gives more than 0.5?

What bounds the figure is how predictable text is, not how good the model is: counts of long contexts, interpolated
over shorter ones, are sure of many bytes at a mediocre 2 to 3 bits per byte, and large language models are sure of
more. Where others are untrained, every byte counts as known to nobody else; where a decent model is there, few of the
bytes that it does not know are known to an honest newcomer. Who has the text knows nearly all of them either way.

W windows of T bytes, of which the last is to be foretold.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_record
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import draw_windows
from models.value.panel import KNOWN, KNOWN_SHARE, looked_up

Array = NDArray[np.float64]
FACTOR = np.uint64(0x9E3779B97F4A7C15)
ORDERS = (2, 3, 4, 6, 8, 12, 16)
"""Bytes of context of the models that are measured."""
BESIDE: dict[int, tuple[int, ...]] = {16: (2, 4), 8: (4,), 6: (3,)}
"""By a newcomer's order, who else is there, one by one."""


def main() -> None:
    """Count, measure, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=4096)
    parser.add_argument("--training-mib", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = prepare_corpus(Data(), Path(folder), window_bytes=129)
        windows = draw_windows(corpus, bytes(32), windows=arguments.windows, window_bytes=129)
        probability = foretell(training_text(corpus, arguments.training_mib << 20), windows.text_WT)
        strata = {name: windows.stratum_W == index for index, name in enumerate(corpus.strata)}
    baseline_W = probability[0]
    alone = {
        f"order {order}": {
            "bits_per_byte": float(-np.log2(probability[order]).mean()),
            "known": share(probability[order], [baseline_W]),
            "known_by_stratum": {
                name: share(probability[order][use_W], [baseline_W[use_W]]) for name, use_W in strata.items()
            },
        }
        for order in ORDERS
    }
    beside = {
        f"order {order} beside order {other}": share(probability[order], [baseline_W, probability[other]])
        for order, others in BESIDE.items()
        for other in others
    }
    measured = {"beside the baseline": alone, **beside, "refused above": KNOWN_SHARE, "known above": KNOWN}
    write_record("looked_up", vars(arguments), measured)
    for name, row in alone.items():
        print(f"{name}: {row['bits_per_byte']:.2f} bits/byte, knows {row['known']:.0%}", file=sys.stderr)


def training_text(corpus: Corpus, size_bytes: int) -> NDArray[np.uint8]:
    """Training documents in a drawn order, a zero byte before each."""
    order = np.random.default_rng(0).permutation(corpus.training)
    text = b"".join(b"\0" + corpus.bytes_of(int(document)).tobytes() for document in order)
    return np.frombuffer(text[:size_bytes], np.uint8)


def foretell(text: NDArray[np.uint8], text_WT: NDArray[np.uint8]) -> dict[int, Array]:
    """By order, the probability [W] of each window's last byte: counts after equal contexts, with what the shorter
    context says for as much as half of the different bytes seen there.
    """
    target_W = text_WT[:, -1]
    counts = np.bincount(text, minlength=256) + 1.0
    probability_W256 = np.tile(counts / counts.sum(), (len(text_WT), 1))
    found = {0: probability_W256[np.arange(len(target_W)), target_W]}
    context, asked, power = np.zeros(len(text), np.uint64), np.zeros(len(text_WT), np.uint64), np.uint64(1)
    for order in range(1, max(ORDERS) + 1):
        with np.errstate(over="ignore"):
            power = power * FACTOR
            context[order:] += (text[:-order].astype(np.uint64) + np.uint64(1)) * power
            asked += (text_WT[:, -1 - order].astype(np.uint64) + np.uint64(1)) * power
        if order > 8 and order not in ORDERS:
            continue
        by_context = np.argsort(context, kind="stable")
        sorted_context, following = context[by_context], text[by_context]
        first_W, last_W = (np.searchsorted(sorted_context, asked, side) for side in ("left", "right"))
        for row in np.flatnonzero(last_W > first_W):
            seen = np.bincount(following[first_W[row] : last_W[row]], minlength=256)
            trust = np.count_nonzero(seen) / 2
            probability_W256[row] = (seen + trust * probability_W256[row]) / (seen.sum() + trust)
        found[order] = probability_W256[np.arange(len(target_W)), target_W]
    return found


def share(own_W: Array, others: list[Array]) -> float:
    """What part of the bytes that no other knows the first one knows."""
    ones = np.ones(len(own_W), np.int64)
    found = looked_up(np.log([own_W, *others]), np.arange(len(own_W)), ones, windows=len(own_W))
    return found.known[0] / max(1, found.alone[0])


if __name__ == "__main__":
    main()

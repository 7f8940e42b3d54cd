"""Real text and real models of it: n-gram models of the standard library, quick enough for unit tests.

Legend: M events, K bytes of context, 256 byte values.
"""

import hashlib
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.value.round import Round, quantise

Array = NDArray[np.float64]
Rounds = Callable[..., Round]

CONTEXT = 4
WINDOW = 200
STRATA = ("code", "documented", "encodings")


class Ngram:
    """Byte n-gram model of one order, smoothed towards the lower orders."""

    def __init__(self, texts: Sequence[bytes], order: int, smoothing: float = 3.0) -> None:
        self.smoothing = smoothing
        self.tables = []
        for length in range(order + 1):
            views = [np.lib.stride_tricks.sliding_window_view(np.frombuffer(x, np.uint8), length + 1) for x in texts]
            keys = _keys(np.concatenate(views))
            self.tables.append((np.unique(keys >> 8, return_counts=True), np.unique(keys, return_counts=True)))

    def probability(self, text_MK: NDArray[np.uint8]) -> Array:
        """Probability of each row's last byte given those before it."""
        probability_M = np.full(len(text_MK), 1 / 256)
        for length, (contexts, grams) in enumerate(self.tables):
            keys_M = _keys(text_MK[:, text_MK.shape[1] - length - 1 :])
            smoothed_M = _count(grams, keys_M) + self.smoothing * probability_M
            probability_M = smoothed_M / (_count(contexts, keys_M >> 8) + self.smoothing)
        return probability_M

    def distribution(self, text_MK: NDArray[np.uint8]) -> Array:
        """Probabilities [M, 256] of all bytes in each row's last place."""
        contexts, of_M = np.unique(_keys(text_MK[:, -len(self.tables) : -1]), return_inverse=True)
        length = len(self.tables) - 1
        bytes_UK = (contexts[:, None] >> (8 * np.arange(length)[::-1])) & 255
        every = np.concatenate([np.repeat(bytes_UK, 256, axis=0), np.tile(np.arange(256), len(contexts))[:, None]], 1)
        return self.probability(every.astype(np.uint8)).reshape(-1, 256)[of_M.reshape(-1)]


def _keys(text_MK: NDArray[np.uint8]) -> NDArray[np.int64]:
    places = text_MK.shape[1]
    return text_MK.astype(np.int64) @ (256 ** np.arange(places)[::-1])


def _count(table: tuple[NDArray[np.int64], NDArray[np.int64]], keys_M: NDArray[np.int64]) -> NDArray[np.int64]:
    keys, counts = table
    at_M = np.minimum(np.searchsorted(keys, keys_M), len(keys) - 1)
    return np.where(keys[at_M] == keys_M, counts[at_M], 0)


@dataclass(frozen=True)
class Text:
    """Held-out events, and what models by name say of them: probability of the true byte, or of all bytes."""

    next_M: NDArray[np.uint8]
    stratum_M: NDArray[np.int64]
    document_M: NDArray[np.int64]
    probability: dict[str, Array]
    distribution: dict[str, NDArray[np.float32]]


def read_documents() -> list[tuple[int, bytes]]:
    """(stratum, bytes) of modules of the standard library, in an order that does not depend on their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    documents = []
    for path in [*root.glob("*.py"), *root.glob("encodings/*.py"), *root.glob("[a-e]*/*.py")]:
        text = path.read_bytes()[:20_000]
        if len(text) > 4 * WINDOW and "site-packages" not in path.parts:
            stratum = 2 if "encodings" in path.parts else int(text.count(b'"""') > 10)
            documents.append((stratum, text))
    return sorted(set(documents), key=lambda document: hashlib.blake2b(document[1]).digest())


@pytest.fixture(scope="session")
def text() -> Text:
    documents = read_documents()
    held_out, training = documents[:60], documents[60:240]
    everything = [document for _, document in training]
    rng = np.random.default_rng(1)
    rows, stratum, numbers = [], [], []
    for number, (kind, document) in enumerate(held_out):
        for start in rng.integers(0, len(document) - WINDOW, size=2):
            window = np.frombuffer(document, np.uint8)[start : start + WINDOW]
            rows.append(np.lib.stride_tricks.sliding_window_view(window, CONTEXT + 1))
            stratum += [kind] * len(rows[-1])
            numbers += [number] * len(rows[-1])
    text_MK = np.concatenate(rows)
    models = {
        "baseline": Ngram(everything, 0, smoothing=1.0),
        "first": Ngram(everything[:25], 1),
        "second": Ngram(everything[:60], 2),
        "third": Ngram(everything[60:160], 3),
        "code": Ngram([document for kind, document in training if kind == 0][:60], 3),
        "encodings": Ngram([document for kind, document in training if kind == 2][:60], 3),
    }
    return Text(
        text_MK[:, -1],
        np.array(stratum),
        np.array(numbers),
        {name: model.probability(text_MK) for name, model in models.items()},
        {name: models[name].distribution(text_MK).astype(np.float32) for name in ("first", "second")},
    )


def fold_of(document: int) -> int:
    return hashlib.blake2b(document.to_bytes(8, "big")).digest()[0] & 1


@pytest.fixture(scope="session")
def rounds(text: Text) -> Rounds:
    """rounds(members, new, remotes, **probabilities): a round of the text's models and of others given by name."""

    def build(members: Sequence[str], new: Sequence[str], remotes: Sequence[str] = (), **others: Array) -> Round:
        names = ["baseline", *members, *remotes, *new]
        known = text.probability | others
        folds = np.array([fold_of(document) for document in range(int(text.document_M.max()) + 1)])
        with np.errstate(divide="ignore"):
            matrix_NM = quantise(np.log(np.stack([known[name] for name in names])))
        return Round(
            matrix_NM=matrix_NM,
            manifests=tuple(hashlib.blake2b(name.encode(), digest_size=32).digest() for name in names),
            uid_N=np.arange(-1, len(names) - 1),
            member_N=np.arange(len(names)) <= len(members),
            new_N=np.arange(len(names)) > len(members) + len(remotes),
            remote_N=(np.arange(len(names)) > len(members)) & (np.arange(len(names)) <= len(members) + len(remotes)),
            stratum_M=text.stratum_M,
            document_M=text.document_M,
            fold_M=folds[text.document_M],
            bytes_M=np.ones(len(text.next_M), dtype=np.int64),
            strata=STRATA,
        )

    return build

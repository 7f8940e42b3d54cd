"""Writing a corpus: each document once, in the split that its hash says, batch after batch.

Invariants: the split of a document depends on its content, the share and whether it is private; a document equal to an
earlier one is dropped, whatever its source; counts are of what was written.
"""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from models.text.corpus import TEXT_SCHEMA, StratumCount
from models.text.documents import Document

# Text gathered before it is written as one record batch.
BATCH_BYTES = 16 << 20


class CorpusWriter:
    """An Arrow file being written, and what has been counted so far. Use as a context."""

    def __init__(self, path: Path, held_out_share: float, window_bytes: int) -> None:
        self.sources: list[str] = []
        self.documents: Counter[tuple[int, bool]] = Counter()
        self.text_bytes: Counter[tuple[int, bool]] = Counter()
        self.held_out_windows = 0
        self.training_counts = np.zeros(256, np.int64)
        self.digest = hashlib.blake2b(digest_size=32)
        self._threshold = int(held_out_share * 2**64)
        self._window_bytes = window_bytes
        self._seen: set[bytes] = set()
        self._rows: list[tuple[bytes, bytes, int, bool]] = []
        self._gathered_bytes = 0
        self._file = pa.OSFile(str(path), "wb")
        self._arrow = pa.ipc.new_file(self._file, TEXT_SCHEMA)

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._write_batch()
        self._arrow.close()
        self._file.close()

    def add(self, document: Document) -> bool:
        """Write one document. False where its text is there already."""
        content_hash = hashlib.blake2b(document.content, digest_size=32).digest()
        if content_hash in self._seen:
            return False
        self._seen.add(content_hash)
        if document.stratum not in self.sources:
            self.sources.append(document.stratum)
        source = self.sources.index(document.stratum)
        held_out = document.private or int.from_bytes(content_hash[:8], "big") < self._threshold
        self._count(document.content, source, held_out)
        self.digest.update(content_hash + source.to_bytes(4, "big") + bytes([held_out]))
        self._rows.append((document.content, content_hash, source, held_out))
        self._gathered_bytes += len(document.content)
        if self._gathered_bytes >= BATCH_BYTES:
            self._write_batch()
        return True

    def describe(self, strata: tuple[str, ...], stratum_of_source: tuple[int, ...]) -> tuple[StratumCount, ...]:
        """What was written, by the strata into which the sources went."""
        documents: Counter[tuple[int, bool]] = Counter()
        text_bytes: Counter[tuple[int, bool]] = Counter()
        for (source, held_out), number in self.documents.items():
            documents[stratum_of_source[source], held_out] += number
            text_bytes[stratum_of_source[source], held_out] += self.text_bytes[source, held_out]
        return tuple(
            StratumCount(name, held_out, documents[number, held_out], text_bytes[number, held_out])
            for number, name in enumerate(strata)
            for held_out in (False, True)
        )

    def _count(self, content: bytes, source: int, held_out: bool) -> None:
        self.documents[source, held_out] += 1
        self.text_bytes[source, held_out] += len(content)
        if held_out:
            self.held_out_windows += len(content) // self._window_bytes
        else:
            self.training_counts += np.bincount(np.frombuffer(content, np.uint8), minlength=256)

    def _write_batch(self) -> None:
        if self._rows:
            columns = [
                pa.array(values, kind.type)
                for values, kind in zip(zip(*self._rows, strict=True), TEXT_SCHEMA, strict=True)
            ]
            self._arrow.write_batch(pa.record_batch(columns, schema=TEXT_SCHEMA))
            self._rows, self._gathered_bytes = [], 0

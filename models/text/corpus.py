"""The prepared corpus: one memory-mapped Arrow file of documents, and beside it what was counted while writing it.

Invariants: immutable once written; processes that open it share its pages; a document's index, stratum and split are
the same in all of them. D documents in the order of the file.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.errors import TextError

TEXT_FILE = "corpus.arrow"
RECORD_FILE = "corpus.msgpack"
TEXT_SCHEMA = pa.schema(
    [("text", pa.large_binary()), ("hash", pa.binary(32)), ("source", pa.int32()), ("held_out", pa.bool_())]
)

Bytes = npt.NDArray[np.uint8]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class StratumCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much text one stratum has in one split."""

    stratum: str
    held_out: bool
    documents: int
    size_bytes: int


class CorpusDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a corpus holds. `str()` of it is a table for a person."""

    counts: tuple[StratumCount, ...]
    skipped: dict[str, int]

    def __str__(self) -> str:
        rows = [f"{'stratum':<20} {'split':<9} {'documents':>9} {'bytes':>13}"]
        for count in self.counts:
            split = "held out" if count.held_out else "training"
            rows.append(f"{count.stratum:<20.20} {split:<9} {count.documents:>9,} {count.size_bytes:>13,}")
        if self.skipped:
            rows.append("left out: " + ", ".join(f"{number:,} {reason}" for reason, number in self.skipped.items()))
        return "\n".join(rows)


class CorpusRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `RECORD_FILE` holds.

    `sources_hash`: of the settings and the files that were read; `fingerprint`: of what came out of them;
    `text_bytes`: size of the Arrow file; `private`: held-out text is not public; `stratum_of_source`: the stratum into
    which each source stratum went; `training_counts`: how often each of the 256 bytes occurs in the training text.
    """

    sources_hash: Hash
    fingerprint: Hash
    text_bytes: int
    private: bool
    strata: tuple[str, ...]
    sources: tuple[str, ...]
    stratum_of_source: tuple[int, ...]
    training_counts: Annotated[tuple[int, ...], msgspec.Meta(min_length=256, max_length=256)]
    description: CorpusDescription


class Corpus:
    """An open corpus of D documents; `stratum_D`, `held_out_D` and `length_D` describe them."""

    def __init__(self, folder: Path, record: CorpusRecord, batches: list[pa.RecordBatch]) -> None:
        self.folder = folder
        self.record = record
        self.strata = record.strata
        self.fingerprint = record.fingerprint
        self.private = record.private
        self._hashes = [batch.column("hash") for batch in batches]
        self._offsets = [view_offsets(batch.column("text")) for batch in batches]
        self._texts = [view_bytes(batch.column("text")) for batch in batches]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        source_D = np.concatenate([batch.column("source").to_numpy() for batch in batches])
        self.stratum_D = np.asarray(record.stratum_of_source, np.int16)[source_D]
        self.held_out_D = np.concatenate([batch.column("held_out").to_numpy(zero_copy_only=False) for batch in batches])
        self.length_D = np.concatenate([np.diff(offsets) for offsets in self._offsets])
        self.held_out = np.flatnonzero(self.held_out_D).astype(np.int32)
        self.training = np.flatnonzero(~self.held_out_D).astype(np.int32)

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Map the corpus that `prepare_corpus` laid into `folder`. Raises TextError where none lies there."""
        try:
            record = msgspec.msgpack.decode((folder / RECORD_FILE).read_bytes(), type=CorpusRecord)
            with pa.memory_map(str(folder / TEXT_FILE)) as file:
                reader = pa.ipc.open_file(file)
                batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, pa.ArrowException) as error:
            raise TextError("data", f"no usable corpus in {folder} ({error}): prepare it again") from None
        return cls(folder, record, batches)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Corpus.open, (self.folder,)

    @property
    def document_count(self) -> int:
        """D."""
        return int(self._starts[-1])

    def bytes_of(self, document: int) -> Bytes:
        """A read-only view of one document's text, uint8 [length]."""
        batch, row = self._locate(document)
        return self._texts[batch][self._offsets[batch][row] : self._offsets[batch][row + 1]]

    def document_hash(self, document: int) -> bytes:
        """BLAKE2b-256 of one document's text."""
        batch, row = self._locate(document)
        digest: bytes = self._hashes[batch][row].as_py()
        return digest

    def stratum_of(self, document: int) -> int:
        """Index into `strata`."""
        return int(self.stratum_D[document])

    def known_strata(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that this corpus has, a merged one under the name of what it went into, each once."""
        home = dict(zip(self.record.sources, self.record.stratum_of_source, strict=True))
        home |= {name: number for number, name in enumerate(self.strata)}
        return tuple(dict.fromkeys(self.strata[home[name]] for name in names if name in home))

    def baseline_log_probability(self) -> npt.NDArray[np.float64]:
        """Natural log of p_0, float64 [256]: byte frequencies of the training text, each count raised by one."""
        smoothed = [count + 1 for count in self.record.training_counts]
        return np.array([math.log(count / sum(smoothed)) for count in smoothed])

    def describe(self) -> CorpusDescription:
        """Documents and bytes per stratum and split, and what was left out while reading."""
        return self.record.description

    def _locate(self, document: int) -> tuple[int, int]:
        if not 0 <= document < self.document_count:
            raise IndexError(f"document {document} of a corpus of {self.document_count}")
        batch = int(np.searchsorted(self._starts, document, side="right")) - 1
        return batch, document - int(self._starts[batch])


def view_offsets(column: pa.LargeBinaryArray) -> npt.NDArray[np.int64]:
    """Where each row of a text column begins, and where the last ends, int64 [rows + 1]; no copy."""
    return np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]


def view_bytes(column: pa.LargeBinaryArray) -> Bytes:
    """All text of a column end to end; no copy."""
    return np.frombuffer(column.buffers()[2], np.uint8)

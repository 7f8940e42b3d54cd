"""Laying down the corpus: read, drop duplicates, split by hash, merge small strata, write.

Invariants: what is refused leaves nothing behind; the two files appear whole, the record last; an unchanged source is
not read twice; memory holds one batch of text and 32 bytes per document, whatever the size of the corpus.
"""

import hashlib
import secrets
from collections import Counter
from pathlib import Path

import msgspec

from models.errors import TextError
from models.text.corpus import RECORD_FILE, TEXT_FILE, Corpus, CorpusDescription, CorpusRecord
from models.text.data import Data
from models.text.documents import Source, list_sources, read_documents
from models.text.writing import CorpusWriter

# A stratum with fewer held-out documents than this has no usable standard error of its own.
SMALL_STRATUM_DOCUMENTS = 20
# Two folds of the smallest stratum: with fewer nothing can be valued.
MINIMUM_HELD_OUT_DOCUMENTS = 2 * SMALL_STRATUM_DOCUMENTS
MINIMUM_TRAINING_BYTES = 1 << 16
OTHER = "other"
MORE_TEXT = "add text or change data.held_out_share"
SOURCES_DOMAIN = b"taoray corpus sources 1\x00"
CORPUS_DOMAIN = b"taoray corpus 1\x00"


def prepare_corpus(data: Data, folder: Path, *, window_bytes: int, minimum_windows: int = 64) -> Corpus:
    """Lay the text that `data` names into `folder`, or find it there unchanged, and open it.

    `window_bytes`: shorter documents are left out. `minimum_windows`: how many windows one draw will want.
    Raises TextError with the field that is wrong: a path that cannot be read, no text, too little text.
    """
    sources = list_sources(data)
    sources_hash = hash_sources(data, sources, window_bytes, minimum_windows)
    if is_current(folder, sources_hash):
        return Corpus.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, record = (folder / f".{name}.{secrets.token_hex(8)}" for name in (TEXT_FILE, RECORD_FILE))
    try:
        writer, skipped = write_text(text, sources, data, window_bytes)
        check_enough(data, writer, skipped, minimum_windows)
        content = describe_text(writer, skipped, sources_hash, text.stat().st_size, bool(data.private))
        record.write_bytes(msgspec.msgpack.encode(content))
        text.replace(folder / TEXT_FILE)
        record.replace(folder / RECORD_FILE)
    finally:
        text.unlink(missing_ok=True)
        record.unlink(missing_ok=True)
    return Corpus.open(folder)


def hash_sources(data: Data, sources: list[Source], window_bytes: int, minimum_windows: int) -> bytes:
    """BLAKE2b-256 of the settings and of every file's path, stratum, size and time of change."""
    files = [(str(source.path), *source[1:]) for source in sources]
    content = msgspec.msgpack.encode((data, window_bytes, minimum_windows, files))
    return hashlib.blake2b(SOURCES_DOMAIN + content, digest_size=32).digest()


def is_current(folder: Path, sources_hash: bytes) -> bool:
    """Whether `folder` holds the whole corpus of these sources."""
    try:
        record = msgspec.msgpack.decode((folder / RECORD_FILE).read_bytes(), type=CorpusRecord)
        return record.sources_hash == sources_hash and (folder / TEXT_FILE).stat().st_size == record.text_bytes
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return False


def write_text(path: Path, sources: list[Source], data: Data, window_bytes: int) -> tuple[CorpusWriter, Counter[str]]:
    """Write the documents of all sources to `path`; also return what was left out, by reason."""
    skipped: Counter[str] = Counter()
    shortest_bytes = max(data.minimum_document_bytes, window_bytes)
    with CorpusWriter(path, 0.0 if data.private else data.held_out_share, window_bytes) as writer:
        for document in read_documents(sources, data, skipped):
            if len(document.content) < shortest_bytes:
                skipped["too short"] += 1
            elif not writer.add(document):
                skipped["seen before"] += 1
    return writer, skipped


def check_enough(data: Data, writer: CorpusWriter, skipped: Counter[str], minimum_windows: int) -> None:
    """Raise TextError where the text is too little to train on ("data.paths") or to value with ("data.private")."""
    where = ", ".join(data.paths) or "the standard library"
    held = ("data.private", ", ".join(data.private), "add text") if data.private else ("data.paths", where, MORE_TEXT)
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in skipped.items()) or "nothing"
    total = writer.documents.total()
    if not total:
        raise TextError("data.paths", f"{where} holds no usable text (left out: {left_out})")
    held_out = sum(number for (_, is_held_out), number in writer.documents.items() if is_held_out)
    training_bytes = int(writer.training_counts.sum())
    wanted = (
        (held_out, MINIMUM_HELD_OUT_DOCUMENTS, "held-out documents", *held),
        (writer.held_out_windows, minimum_windows, "windows of held-out text", *held),
        (training_bytes, MINIMUM_TRAINING_BYTES, "bytes of training text", "data.paths", where, MORE_TEXT),
    )
    for found, least, what, field, source, advice in wanted:
        if found < least:
            raise TextError(
                field,
                f"{source} gives {found:,} {what}, at least {least:,} are needed: {advice} ({total:,} documents "
                f"found; left out: {left_out})",
            )


def describe_text(
    writer: CorpusWriter, skipped: Counter[str], sources_hash: bytes, text_bytes: int, private: bool
) -> CorpusRecord:
    """The record that is kept beside the text."""
    held_out_documents = [writer.documents[source, True] for source in range(len(writer.sources))]
    strata, stratum_of_source = merge_strata(writer.sources, held_out_documents)
    content = CORPUS_DOMAIN + writer.digest.digest() + msgspec.msgpack.encode((strata, stratum_of_source))
    return CorpusRecord(
        sources_hash=sources_hash,
        fingerprint=hashlib.blake2b(content, digest_size=32).digest(),
        text_bytes=text_bytes,
        private=private,
        strata=strata,
        sources=tuple(writer.sources),
        stratum_of_source=stratum_of_source,
        training_counts=tuple(writer.training_counts.tolist()),
        description=CorpusDescription(writer.describe(strata, stratum_of_source), dict(sorted(skipped.items()))),
    )


def merge_strata(sources: list[str], held_out_documents: list[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The strata, sorted by name, and for each source the index of the one it goes into.

    Sources with too few held-out documents go together into `other`; where that is still too few, into the largest.
    """
    if len(sources) == 1:
        return (sources[0],), (0,)
    enough = [number >= SMALL_STRATUM_DOCUMENTS for number in held_out_documents]
    left = sum(number for number, is_enough in zip(held_out_documents, enough, strict=True) if not is_enough)
    largest = sources[max(range(len(sources)), key=lambda source: (held_out_documents[source], sources[source]))]
    home = OTHER if left >= SMALL_STRATUM_DOCUMENTS or not any(enough) else largest
    names = [name if is_enough else home for name, is_enough in zip(sources, enough, strict=True)]
    strata = tuple(sorted(set(names)))
    return strata, tuple(strata.index(name) for name in names)

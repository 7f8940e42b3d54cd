"""Reading documents: one UTF-8 file or one Parquet row each, in a fixed order.

Invariants: what a person named must be there and readable, else one error before anything is read; what lies inside a
named folder and is not text is skipped and counted; a document is valid UTF-8 and no longer than the limit.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models.errors import TextError
from models.text.data import Data
from models.text.strata import divide_standard_file, is_standard_text, standard_library


class Source(NamedTuple):
    """One file to read. `stratum` is None in the standard library, where the content decides; `private`: its text is
    held out.
    """

    path: Path
    stratum: str | None
    size_bytes: int
    modified_ns: int
    private: bool = False


class Document(NamedTuple):
    """One document, the stratum it was found in, and whether it is private."""

    stratum: str
    content: bytes
    private: bool = False


def list_sources(data: Data) -> list[Source]:
    """Every file that `data` names, sorted, private ones first: what is in both is private.

    Raises TextError("data.paths" or "data.private", …) for a path that cannot be read.
    """
    private = [source._replace(private=True) for source in list_paths("data.private", data.private)]
    if data.paths:
        return private + list_paths("data.paths", data.paths)
    root = standard_library()
    paths = [path for path in walk_files(root) if is_standard_text(path.relative_to(root))]
    return private + [describe_source(path, None) for path in paths]


def list_paths(field: str, names: Sequence[str]) -> list[Source]:
    """The files below the paths that a person named in a field, sorted, each once."""
    sources = {source for name in names for source in list_path(field, Path(name).expanduser())}
    return sorted(sources, key=lambda source: (str(source.path), source.stratum or ""))


def list_path(field: str, path: Path) -> list[Source]:
    """The files below one path that a person named. A top folder is a stratum, and so is a Parquet file."""
    if not path.exists():
        raise TextError(field, f"{path} does not exist (seen from {Path.cwd()})")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise TextError(field, f"{path} may not be read by this user")
    path = path.resolve()
    if path.is_dir():
        return [describe_source(file, name_stratum(file, path)) for file in walk_files(path)]
    return [describe_source(path, path.stem if is_parquet(path) else path.parent.name)]


def name_stratum(file: Path, root: Path) -> str:
    """A Parquet file's own name, else the first folder below `root` on the way to the file, else `root` itself."""
    if is_parquet(file):
        return file.stem
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else root.name


def is_parquet(path: Path) -> bool:
    """Parquet is told by its suffix."""
    return path.suffix.lower() == ".parquet"


def walk_files(root: Path) -> Iterator[Path]:
    """Plain files below `root` in a fixed order; hidden ones, caches and installed packages are left out."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name not in {"__pycache__", "site-packages"}
        )
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def describe_source(path: Path, stratum: str | None) -> Source:
    """A source with the size and time by which a change of it is noticed."""
    status = path.stat()
    return Source(path, stratum, status.st_size, status.st_mtime_ns)


def read_documents(sources: list[Source], data: Data, skipped: Counter[str]) -> Iterator[Document]:
    """The documents of all sources in order; `skipped` counts, by reason, the files and rows that are none."""
    for source in sources:
        if source.stratum is not None and is_parquet(source.path):
            rows = read_parquet(source.path, source.stratum, data, skipped)
            yield from (row._replace(private=source.private) for row in rows)
            continue
        content = read_text(source.path, data.maximum_document_bytes, skipped)
        if content is None:
            continue
        if source.stratum is None:
            parts = divide_standard_file(source.path.relative_to(standard_library()), content)
            yield from (Document(stratum, part) for stratum, part in parts)
        else:
            yield Document(source.stratum, content, source.private)


def read_text(path: Path, maximum_bytes: int, skipped: Counter[str]) -> bytes | None:
    """A file's text, cut at `maximum_bytes` on a character's boundary, or None where it is not text."""
    try:
        with path.open("rb") as file:
            content = file.read(maximum_bytes + 1)
    except OSError:
        skipped["unreadable"] += 1
        return None
    content = cut_text(content, maximum_bytes)
    if b"\x00" in content or not is_utf8(content):
        skipped["not UTF-8"] += 1
        return None
    return content


def cut_text(content: bytes, maximum_bytes: int) -> bytes:
    """At most `maximum_bytes` of UTF-8, not ending within a character."""
    if len(content) <= maximum_bytes:
        return content
    end = maximum_bytes
    while end > maximum_bytes - 4 and content[end] & 0xC0 == 0x80:
        end -= 1
    return content[:end]


def is_utf8(content: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_parquet(path: Path, stratum: str, data: Data, skipped: Counter[str]) -> Iterator[Document]:
    """One document per row of the text column. Raises TextError where the file or its column will not do."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise TextError("data.paths", f"{path} is not a readable Parquet file ({error})") from None
    schema = file.schema_arrow
    if data.text_column not in schema.names:
        raise TextError(
            "data.text_column", f"{path} has no column {data.text_column!r}, only {', '.join(schema.names)}"
        )
    kind = schema.field(data.text_column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise TextError("data.text_column", f"column {data.text_column!r} of {path} is {kind}: text is wanted")
    for batch in file.iter_batches(batch_size=1024, columns=[data.text_column]):
        for row in batch.column(0).to_pylist():
            if row is None:
                skipped["empty row"] += 1
            else:
                yield Document(stratum, cut_text(row.encode("utf-8"), data.maximum_document_bytes))

"""A depot: contents by hash on any file system that pyarrow opens, beside the store's own disk.

Invariants: nothing read from it is trusted, whoever reads compares the hash; what is half written has another size or
hash than its name says and is written again. A depot belongs to one network. Layout: objects/aa/aabb…,
manifests/aa/aabb….
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from models.errors import StoreError
from models.manifest import CHUNK_BYTES

KINDS = ("objects", "manifests")


class Depot:
    """The depot at a URI (`s3://bucket/prefix`, `gs://…`, `file:///…`). Every method raises StoreError."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._files, self._prefix = fs.FileSystem.from_uri(uri)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"no depot at {uri!r}: {error}") from None
        if not self._prefix.strip("/"):
            raise StoreError(f"no depot at {uri!r}: name a bucket or folder")

    def put(self, kind: str, digest: bytes, source: Path) -> None:
        """Write a file under its hash, unless one of its size is there."""
        path = self._path(kind, digest)
        try:
            found = self._files.get_file_info(path)
            if found.type == fs.FileType.File and found.size == source.stat().st_size:
                return
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with source.open("rb") as content, self._files.open_output_stream(path, compression=None) as target:
                while chunk := content.read(CHUNK_BYTES):
                    target.write(chunk)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} could not be written to the depot {self.uri}: {error}") from error

    def fetch(self, kind: str, digest: bytes, target: BinaryIO) -> bool:
        """Copy what lies under a hash into `target`; whether there was anything."""
        path = self._path(kind, digest)
        try:
            if self._files.get_file_info(path).type != fs.FileType.File:
                return False
            with self._files.open_input_stream(path, compression=None) as source:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
        except FileNotFoundError:
            return False
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} could not be read from the depot {self.uri}: {error}") from error
        return True

    def sweep(self, kind: str, wanted: Collection[bytes], older_than: float) -> int:
        """Delete what is not wanted and was last written before a Unix time; returns the bytes that it had."""
        freed = 0
        try:
            for info in self._listing(kind):
                digest = _digest(info.base_name)
                if digest is not None and digest not in wanted and info.mtime.timestamp() < older_than:
                    self._files.delete_file(info.path)
                    freed += info.size
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"the depot {self.uri} could not be swept: {error}") from error
        return freed

    def _listing(self, kind: str) -> Iterator[Any]:
        selector = fs.FileSelector(f"{self._prefix}/{kind}", recursive=True, allow_not_found=True)
        return (info for info in self._files.get_file_info(selector) if info.type == fs.FileType.File)

    def _path(self, kind: str, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._prefix}/{kind}/{name[:2]}/{name}"


def _digest(name: str) -> bytes | None:
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None

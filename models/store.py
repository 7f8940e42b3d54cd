"""The content-addressed store: every file of every model version, each content once.

Invariants: an object's name is the BLAKE2b-256 of its bytes, and is checked on every read; whatever has a name is
complete and on the disk (written aside, fsynced, then renamed); several processes may share one root. Layout:

    objects/aa/aabb…       file contents, read-only
    manifests/aa/aabb…     canonical manifests, under their own hash
    folders/aabb…/         a version as transformers loads it: hard links to objects
    aside/                 what is being written
    lock                   held while a folder is laid out
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models.errors import ModelRefused, StoreError
from models.manifest import (
    Manifest,
    ManifestFile,
    decode_manifest,
    describe_stream,
    encode_manifest,
    list_model_files,
    open_plain,
)


class Store:
    """Model versions by manifest hash, under `root` (made where absent)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("objects", "manifests", "folders", "aside"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def put_folder(self, folder: Path) -> Manifest:
        """Copy a model folder in and return its manifest: of the bytes copied, whatever happens to `folder` meanwhile.

        Idempotent. Raises ModelRefused as `manifest_folder` does, StoreError where the disk refuses.
        """
        sources = list_model_files(folder)
        try:
            manifest = Manifest(tuple(self._put_file(path) for path in sources))
            self._put_bytes(encode_manifest(manifest), self._place("manifests", manifest.hash))
        except OSError as error:
            raise StoreError(f"{folder} could not be copied into the store {self.root}: {error}") from error
        return manifest

    def get(self, manifest_hash: bytes) -> Manifest:
        """The manifest of that hash. Raises StoreError where it is absent or damaged."""
        place = self._place("manifests", manifest_hash)
        try:
            manifest = decode_manifest(place.read_bytes())
        except FileNotFoundError:
            raise StoreError(f"no model version {manifest_hash.hex()} in the store {self.root}") from None
        except ModelRefused as error:
            raise StoreError(f"{place} is damaged ({error.sentence}): restore it from another copy") from None
        if manifest.hash != manifest_hash:
            raise StoreError(f"{place} is damaged, its hash is {manifest.hash.hex()}: restore it from another copy")
        return manifest

    def __contains__(self, manifest_hash: bytes) -> bool:
        return self._place("manifests", manifest_hash).exists()

    def materialize(self, manifest_hash: bytes) -> Path:
        """A read-only folder with the version's files, for transformers to load; every file's hash is checked.

        Raises StoreError where a file is absent or damaged.
        """
        manifest = self.get(manifest_hash)
        folder = self.root / "folders" / manifest_hash.hex()
        if not is_complete(folder, manifest):
            for file in manifest.files:
                self._check_object(file)
            try:
                with self._locked():
                    self._lay_out(folder, manifest)
            except OSError as error:
                raise StoreError(f"{folder} could not be laid out: {error}") from error
        return folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _place(self, kind: str, digest: bytes) -> Path:
        name = digest.hex()
        return self.root / kind / name[:2] / name

    def _aside(self) -> Path:
        return self.root / "aside" / secrets.token_hex(8)

    def _put_file(self, path: Path) -> ManifestFile:
        aside = self._aside()
        try:
            with open_plain(path) as source, aside.open("xb") as copy:
                file = describe_stream(path.name, source, copy)
                sync(copy)
            place = self._place("objects", file.blake2b)
            if not holds(place, file):
                settle(aside, place)
        finally:
            aside.unlink(missing_ok=True)
        return file

    def _put_bytes(self, data: bytes, place: Path) -> None:
        aside = self._aside()
        try:
            with aside.open("xb") as copy:
                copy.write(data)
                sync(copy)
            settle(aside, place)
        finally:
            aside.unlink(missing_ok=True)

    def _check_object(self, file: ManifestFile) -> None:
        place = self._place("objects", file.blake2b)
        if not holds(place, file):
            raise StoreError(f"{place}, the content of {file.path}, is absent or damaged: restore it from another copy")

    def _lay_out(self, folder: Path, manifest: Manifest) -> None:
        """Give the version its folder, unless another process did meanwhile: somebody may be reading from it."""
        if is_complete(folder, manifest):
            return
        aside = self._aside()
        aside.mkdir()
        try:
            for file in manifest.files:
                link_or_copy(self._place("objects", file.blake2b), aside / file.path)
            if folder.exists():
                shutil.rmtree(folder)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def is_complete(folder: Path, manifest: Manifest) -> bool:
    """Whether `folder` holds every file of `manifest` with the right content."""
    return all(holds(folder / file.path, file) for file in manifest.files)


def holds(place: Path, file: ManifestFile) -> bool:
    """Whether the content of `file` lies at `place`."""
    try:
        with place.open("rb") as source:
            return describe_stream(file.path, source, None) == file
    except FileNotFoundError:
        return False


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name; where the file system has no hard links, or no more of them, copy it."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def sync(file: BinaryIO) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def settle(aside: Path, place: Path) -> None:
    """Give a finished, fsynced file its name, read-only, and make the name itself durable."""
    aside.chmod(0o444)
    place.parent.mkdir(exist_ok=True)
    aside.replace(place)
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

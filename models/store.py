"""The content-addressed store: every file of every model version, each content once.

Invariants: an object's name is the BLAKE2b-256 of its bytes, and is checked on every read; whatever has a name is
complete and on the disk (written aside, fsynced, then renamed); what is absent or damaged here is fetched from the
depot, where there is one; several processes may share one root. Layout:

    objects/aa/aabb…       file contents, read-only
    manifests/aa/aabb…     canonical manifests, under their own hash
    folders/aabb…/         a version as transformers loads it: hard links to objects
    aside/                 what is being written
    lock                   held while names are given or taken away
"""

import fcntl
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.content import holds, is_complete, link_or_copy, settle, sync
from models.depot import KINDS, Depot
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

ABANDONED_S = 86_400.0
"""After how long what lies aside was left by a process that is gone: longer than any check or copy takes."""


@dataclass(frozen=True)
class Staged:
    """A private, verified copy of a model folder, in the store's `aside`: what is checked is what is adopted."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class Collected:
    """What a collection took away: how many versions, and how many bytes of files on the store's own disk."""

    versions: int
    size_bytes: int


class Store:
    """Model versions by manifest hash, under `root` (made where absent).

    `depot`: a URI that pyarrow opens, where every version is kept as well; empty: nowhere. Raises StoreError where it
    is none.
    """

    def __init__(self, root: Path, depot: str = "") -> None:
        self.root = root
        self._depot = Depot(depot) if depot else None
        for name in (*KINDS, "folders", "aside"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def put_folder(self, folder: Path) -> Manifest:
        """Copy a model folder in and return its manifest: of the bytes copied, whatever happens to `folder` meanwhile.

        Idempotent. Raises ModelRefused as `manifest_folder` does, StoreError where the disk or the depot refuses.
        """
        with self.staged(folder) as staged:
            return self.adopt(staged)

    @contextmanager
    def staged(self, folder: Path) -> Iterator[Staged]:
        """A private copy of a model folder, gone at the end. Raises as `put_folder`."""
        sources = list_model_files(folder)
        aside = self._aside()
        try:
            try:
                aside.mkdir()
                manifest = Manifest(tuple(_copy(path, aside / path.name) for path in sources))
            except OSError as error:
                raise StoreError(f"{folder} could not be copied into the store {self.root}: {error}") from error
            yield Staged(aside, manifest)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def adopt(self, staged: Staged) -> Manifest:
        """Take what is staged into the store and, where there is one, the depot. Raises StoreError."""
        manifest = staged.manifest
        lacking = {file.blake2b for file in manifest.files if not holds(self._place("objects", file.blake2b), file)}
        try:
            with self._locked():
                for file in manifest.files:
                    place = self._place("objects", file.blake2b)
                    if file.blake2b in lacking or not place.exists():
                        settle(staged.path / file.path, place)
                        lacking.discard(file.blake2b)
                self._put_bytes(encode_manifest(manifest), self._place("manifests", manifest.hash))
        except OSError as error:
            raise StoreError(f"{staged.path} could not be moved into the store {self.root}: {error}") from error
        if self._depot is not None:
            for file in manifest.files:
                self._depot.put("objects", file.blake2b, self._place("objects", file.blake2b))
            self._depot.put("manifests", manifest.hash, self._place("manifests", manifest.hash))
        return manifest

    def get(self, manifest_hash: bytes) -> Manifest:
        """The manifest of that hash. Raises StoreError where it is absent or damaged, here and in the depot."""
        if self._depot is None:
            return self._read(manifest_hash)
        try:
            return self._read(manifest_hash)
        except StoreError:
            self._fetch_manifest(manifest_hash)
            return self._read(manifest_hash)

    def __contains__(self, manifest_hash: bytes) -> bool:
        return self._place("manifests", manifest_hash).exists()

    def materialize(self, manifest_hash: bytes) -> Path:
        """A read-only folder with the version's files, for transformers to load; every file's hash is checked.

        Raises StoreError where a file is absent or damaged, here and in the depot.
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

    def versions(self) -> set[bytes]:
        """The hashes of all manifests here."""
        return {bytes.fromhex(path.name) for path in (self.root / "manifests").glob("*/*")}

    def collect(self, keep: Collection[bytes], unused_s: float) -> Collected:
        """Forget versions that are not to be kept and were last put more than `unused_s` ago, here and in the depot.

        Raises StoreError where a manifest that is to stay cannot be read: then its files are unknown, and all stay.
        """
        older_than = time.time() - unused_s
        with self._locked():
            old = {version for version in self.versions() if self._changed(version) < older_than}
            gone = old - set(keep)
            elsewhere = {version for version in keep if version not in self and self._fetch_manifest(version)}
            kept = (self.versions() - gone) | elsewhere
            wanted = {file.blake2b for version in kept for file in self.get(version).files}
            for version in gone:
                self._place("manifests", version).unlink()
                shutil.rmtree(self.root / "folders" / version.hex(), ignore_errors=True)
            freed = self._drop_objects(wanted)
            for left in (self.root / "aside").iterdir():
                if left.stat().st_mtime < min(older_than, time.time() - ABANDONED_S):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        if self._depot is not None:
            self._depot.sweep("manifests", kept, older_than)
            self._depot.sweep("objects", wanted, older_than)
        return Collected(len(gone), freed)

    def _drop_objects(self, wanted: Collection[bytes]) -> int:
        freed = 0
        for path in (self.root / "objects").glob("*/*"):
            if bytes.fromhex(path.name) not in wanted:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _changed(self, manifest_hash: bytes) -> float:
        return self._place("manifests", manifest_hash).stat().st_mtime

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

    def _read(self, manifest_hash: bytes) -> Manifest:
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
        if not holds(place, file) and not self._fetch("objects", file.blake2b, lambda aside: holds(aside, file)):
            raise StoreError(f"{place}, the content of {file.path}, is absent or damaged: restore it from another copy")

    def _fetch_manifest(self, manifest_hash: bytes) -> bool:
        return self._fetch("manifests", manifest_hash, lambda aside: _is_manifest(aside, manifest_hash))

    def _fetch(self, kind: str, digest: bytes, is_good: Callable[[Path], bool]) -> bool:
        """Take what lies in the depot under a hash, if it is what the hash says; whether it was."""
        if self._depot is None:
            return False
        aside = self._aside()
        try:
            with aside.open("xb") as copy:
                found = self._depot.fetch(kind, digest, copy)
                sync(copy)
            found = found and is_good(aside)
            if found:
                settle(aside, self._place(kind, digest))
        except OSError as error:
            raise StoreError(f"{digest.hex()} could not be fetched into the store {self.root}: {error}") from error
        finally:
            aside.unlink(missing_ok=True)
        return found

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


def _copy(source: Path, target: Path) -> ManifestFile:
    """Copy a file to the disk, and say what was copied."""
    with open_plain(source) as content, target.open("xb") as copy:
        file = describe_stream(source.name, content, copy)
        sync(copy)
    return file


def _is_manifest(path: Path, manifest_hash: bytes) -> bool:
    try:
        return decode_manifest(path.read_bytes()).hash == manifest_hash
    except ModelRefused:
        return False

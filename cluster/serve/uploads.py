"""Uploads: model versions on their way in, a file's bytes after the other's, until they are checked.

Invariants:
* what an upload is lies on the disk, `uploads/<key>/<manifest>/`: its record, the files as far as they came, and after
  the check what came of it; a server that starts again goes on with what lies there;
* a chunk is taken only where its file ends, so a chunk that comes twice is written once;
* uploads under way have bounds: in number, by key and in all; in size, by the quotas; and in time: one that rests, or
  comes too slowly, ends, and what it reserved is free again.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from cluster.door import Delivered
from cluster.errors import ClusterError
from cluster.serve.errors import HttpRefused, Problem
from models.errors import ModelRefused
from models.intake.quotas import Quotas
from models.manifest import Manifest, decode_manifest, encode_manifest

CHUNK_BYTES = 8 << 20
"""The longest chunk: what one request holds in memory."""

CHUNKS_AT_ONCE = 4
"""Of one upload on their way: with CHUNK_BYTES and the number of uploads this bounds what is in memory."""

UPLOADS_PER_KEY = 2
"""One key's at once, so that one cannot take every place."""

REST_S = 900.0
"""An upload that has brought nothing for so long ends, and so does one that is slower after so long than this."""
LEAST_BYTES_PER_S = 32 << 10
KEPT_S = 900.0
"""What came of a check is told for so long."""

State = Literal["receiving", "checking", "delivered", "refused"]


class Standing(Struct, frozen=True, kw_only=True):
    """Where an upload stands.

    Attributes:
        offsets: by file, how many bytes are here.
        delivered: the version, once it is in the store.
        problem: why it is not, or, while it is receiving, why the last check broke off.
    """

    manifest: bytes
    state: State
    size_bytes: int
    offsets: dict[str, int]
    delivered: Delivered | None = None
    problem: Problem | None = None


class Record(Struct, frozen=True):
    """What is written when an upload begins: who pays, what it reserves of the payer, and the encoded manifest."""

    payer: bytes
    reserved_rao: int
    manifest: bytes


class Outcome(Struct, frozen=True):
    """What is written after its check."""

    delivered: Delivered | None
    problem: Problem | None


class Upload:
    """One upload. Its methods are called under `lock`, where they do not say otherwise."""

    def __init__(self, folder: Path, record: Record, at_s: float) -> None:
        self.folder = folder
        self.payer = record.payer
        self.reserved_rao = record.reserved_rao
        self.manifest = decode_manifest(record.manifest)
        self.hash = self.manifest.hash
        self.lock = threading.Lock()
        self.checking = False
        self.problem: Problem | None = None
        self.outcome = _read_outcome(folder)
        self._places = threading.BoundedSemaphore(CHUNKS_AT_ONCE)
        self._sizes = {file.path: file.size_bytes for file in self.manifest.files}
        self.offsets = dict(self._sizes) if self.outcome else {name: self._length(name) for name in self._sizes}
        self._born_s = self._touched_s = at_s
        self._born_bytes = sum(self.offsets.values())

    @property
    def files(self) -> Path:
        """The folder of its files."""
        return self.folder / "files"

    @property
    def open(self) -> bool:
        """Whether it still reserves, and takes a place."""
        return self.outcome is None

    def standing(self) -> Standing:
        """Where it stands."""
        outcome, state = self.outcome, "checking" if self.checking else "receiving"
        if outcome is not None:
            state = "delivered" if outcome.delivered else "refused"
        return Standing(
            manifest=self.hash,
            state=msgspec.convert(state, State),
            size_bytes=self.manifest.size_bytes,
            offsets=dict(self.offsets),
            delivered=outcome.delivered if outcome else None,
            problem=outcome.problem if outcome else self.problem,
        )

    def write(self, name: str, offset: int, data: bytes, at_s: float) -> None:
        """Take a chunk. HttpRefused `not_found`, `wrong_offset`, or `busy` while it is checked."""
        if name not in self._sizes:
            raise HttpRefused("not_found", f"the manifest names no file {name!r}")
        if not self.open or self.checking:
            raise HttpRefused("busy", "this upload is checked now, or was: ask where it stands", 1.0)
        have, size_bytes = self.offsets[name], self._sizes[name]
        if offset != have or have + len(data) > size_bytes:
            raise HttpRefused("wrong_offset", f"{name} has {have} of {size_bytes} bytes here; send what follows")
        with (self.files / name).open("r+b") as file:
            file.seek(offset)
            file.write(data)
            file.truncate()
        self.offsets[name] = offset + len(data)
        self.problem = None
        self._touched_s = at_s

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """Hold one of the places of chunks on their way, without `lock`. HttpRefused `busy`."""
        if not self._places.acquire(blocking=False):
            raise HttpRefused("busy", f"{CHUNKS_AT_ONCE} chunks of this upload are on their way", 1.0)
        try:
            yield
        finally:
            self._places.release()

    def begin_check(self, at_s: float) -> bool:
        """Whether a check is to begin now; not where one is under way, or its outcome is here.

        HttpRefused `incomplete` where bytes are missing.
        """
        if self.checking or not self.open:
            return False
        for name, size_bytes in self._sizes.items():
            if self.offsets[name] != size_bytes:
                raise HttpRefused("incomplete", f"{name} has {self.offsets[name]} of {size_bytes} bytes here")
        self.checking, self.problem, self._touched_s = True, None, at_s
        return True

    def drop_file(self, name: str) -> None:
        """Take a damaged file away, so that it can be sent again."""
        (self.files / name).write_bytes(b"")
        self.offsets[name] = 0

    def pause(self, problem: Problem, at_s: float) -> None:
        """The check broke off; what is here stays, and the check can be asked for again."""
        self.checking, self.problem, self._touched_s = False, problem, at_s

    def settle(self, outcome: Outcome, at_s: float) -> None:
        """The check is over: keep what came of it, and nothing else."""
        partial = self.folder / "outcome.partial"
        partial.write_bytes(msgspec.msgpack.encode(outcome))
        partial.replace(self.folder / "outcome")
        shutil.rmtree(self.files, ignore_errors=True)
        self.checking, self.outcome, self._touched_s = False, outcome, at_s

    def has_expired(self, at_s: float) -> bool:
        """Whether it rested too long, came too slowly, or was over long enough ago."""
        if self.checking:
            return False
        if not self.open:
            return at_s - self._touched_s > KEPT_S
        came_bytes = sum(self.offsets.values()) - self._born_bytes
        late = at_s - self._born_s > REST_S + came_bytes / LEAST_BYTES_PER_S
        return at_s - self._touched_s > REST_S or (late and any(self._sizes[n] > o for n, o in self.offsets.items()))

    def _length(self, name: str) -> int:
        return min((self.files / name).stat().st_size, self._sizes[name])


class Uploads:
    """All uploads of a home. Its methods may be called from several threads."""

    def __init__(self, folder: Path, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self.home = folder.parent
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._uploads: dict[tuple[bytes, bytes], Upload] = {}
        for place in sorted(folder.glob("*/*/")):
            self._take_up(place)

    def begin(self, payer: bytes, manifest: Manifest, quotas: Quotas, reserve: Callable[[int], int]) -> Standing:
        """Begin an upload, or go on with it; one that was refused begins anew.

        Args:
            reserve: told what the payer's uploads reserve already, says what this one reserves, or raises.

        Raises:
            ModelRefused: a quota. HttpRefused: `too_many_uploads`, `busy`, `no_room`. Whatever `reserve` raises.
        """
        with self._lock:
            self._expire()
            known = self._uploads.get((payer, manifest.hash))
            if known is not None:
                with known.lock:
                    if known.outcome is None or known.outcome.delivered is not None:
                        return known.standing()
                self._remove(known)
            check_quotas(manifest, quotas)
            self._check_place(payer, manifest)
            record = Record(payer, reserve(self._reserved(payer)), encode_manifest(manifest))
            upload = Upload(_lay_out(self._folder, record, manifest), record, self._clock())
            self._uploads[payer, upload.hash] = upload
            return upload.standing()

    def find(self, payer: bytes, manifest_hash: bytes) -> Upload:
        """A key's upload. HttpRefused `no_upload`."""
        with self._lock:
            self._expire()
            upload = self._uploads.get((payer, manifest_hash))
        if upload is None:
            raise HttpRefused("no_upload", f"this key uploads no version {manifest_hash.hex()[:16]} here")
        return upload

    def forget(self, payer: bytes, manifest_hash: bytes) -> None:
        """Take away what is kept of an upload that is over."""
        with self._lock:
            upload = self._uploads.get((payer, manifest_hash))
            if upload is not None and not upload.open:
                self._remove(upload)

    def reserved_rao(self, payer: bytes) -> int:
        """What a key's uploads reserve."""
        with self._lock:
            self._expire()
            return self._reserved(payer)

    def now_s(self) -> float:
        """The clock that uploads are timed by."""
        return self._clock()

    def _reserved(self, payer: bytes) -> int:
        return sum(upload.reserved_rao for (key, _), upload in self._uploads.items() if key == payer and upload.open)

    def _check_place(self, payer: bytes, manifest: Manifest) -> None:
        under_way = [key for (key, _), upload in self._uploads.items() if upload.open]
        if under_way.count(payer) >= UPLOADS_PER_KEY:
            raise HttpRefused("too_many_uploads", f"this key has {UPLOADS_PER_KEY} uploads under way", 10.0)
        if len(under_way) >= self._most:
            raise HttpRefused("busy", f"{self._most} uploads are under way", 60.0)
        coming = sum(upload.manifest.size_bytes for upload in self._uploads.values() if upload.open)
        # The check works on a copy of the files.
        needed = 2 * (manifest.size_bytes + coming)
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < needed:
            raise HttpRefused("no_room", f"the disk of the server has no room for {manifest.size_bytes} bytes", 600.0)

    def _expire(self) -> None:
        at_s = self._clock()
        for upload in list(self._uploads.values()):
            if upload.lock.acquire(blocking=False):
                try:
                    expired = upload.has_expired(at_s)
                finally:
                    upload.lock.release()
                if expired:
                    self._remove(upload)

    def _remove(self, upload: Upload) -> None:
        with upload.lock:
            del self._uploads[upload.payer, upload.hash]
            _take_away(upload.folder)

    def _take_up(self, folder: Path) -> None:
        """Go on with what lies in a folder; what a crash left half laid out is taken away."""
        try:
            record = msgspec.msgpack.decode((folder / "record").read_bytes(), type=Record)
            upload = Upload(folder, record, self._clock())
        except (OSError, msgspec.MsgspecError, ModelRefused):
            _take_away(folder)
            return
        self._uploads[upload.payer, upload.hash] = upload


def check_quotas(manifest: Manifest, quotas: Quotas) -> None:
    """ModelRefused `files` or `size` where a version is larger than the network takes."""
    if len(manifest.files) > quotas.files:
        raise ModelRefused("files", f"the version has {len(manifest.files)} files, the network takes {quotas.files}")
    if manifest.size_bytes > quotas.mib << 20:
        size_mib = manifest.size_bytes / (1 << 20)
        raise ModelRefused("size", f"the version has {size_mib:,.1f} MiB, the network takes {quotas.mib:,}")


def _lay_out(uploads: Path, record: Record, manifest: Manifest) -> Path:
    """Write what an upload begins with; its record last, so that what has one is whole."""
    folder = uploads / record.payer.hex() / manifest.hash.hex()
    try:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True)
        for file in manifest.files:
            (folder / "files" / file.path).touch(exist_ok=False)
        partial = folder / "record.partial"
        partial.write_bytes(msgspec.msgpack.encode(record))
        partial.replace(folder / "record")
    except OSError as error:
        raise ClusterError(f"the upload could not be laid out in {folder}: {error}") from error
    return folder


def _take_away(folder: Path) -> None:
    """Remove an upload's folder, and its key's where that was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _read_outcome(folder: Path) -> Outcome | None:
    try:
        return msgspec.msgpack.decode((folder / "outcome").read_bytes(), type=Outcome)
    except FileNotFoundError:
        return None

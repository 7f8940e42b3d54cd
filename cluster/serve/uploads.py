"""All uploads of a home: who may begin one, what they reserve, and when they end.

Invariants:
* each lies in `uploads/<key>/<manifest>/`; a server that starts again goes on with what lies there;
* uploads under way have bounds: in number, by key and in all; in size, by the quotas; and in time: one that rests, or
  comes too slowly, ends, and what it reserved is free again.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cluster.errors import ClusterError
from cluster.serve.errors import HttpRefused
from cluster.serve.upload import Record, Standing, Upload
from models.errors import ModelRefused
from models.intake.quotas import Quotas
from models.manifest import Manifest, encode_manifest

UPLOADS_PER_KEY = 2
"""One key's at once, so that one cannot take every place."""


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

    def sweep(self) -> None:
        """Take away what has expired."""
        with self._lock:
            self._expire()

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

"""One upload: a model version on its way in, a file's bytes after the other's, until it is checked.

Invariants:
* what an upload is lies on the disk: its record, the files as far as they came, and after the check what came of it;
* a chunk is taken only where its file ends, so a chunk that comes twice is written once;
* what is checked does not change meanwhile.
"""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from cluster.serve.errors import HttpRefused, Problem
from models.intake.check import Checked
from models.manifest import decode_manifest

CHUNK_BYTES = 8 << 20
"""The longest chunk: what one request holds in memory."""

CHUNKS_AT_ONCE = 4
"""Of one upload on their way: with CHUNK_BYTES and the number of uploads this bounds what is in memory."""

REST_S = 900.0
"""An upload that has brought nothing for so long ends."""

LEAST_BYTES_PER_S = 32 << 10
"""One that is older than REST_S and on the whole slower than this ends too."""

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
    delivered: Checked | None = None
    problem: Problem | None = None


class Record(Struct, frozen=True):
    """What is written when an upload begins: who pays, what it reserves of the payer, and the encoded manifest."""

    payer: bytes
    reserved_rao: int
    manifest: bytes


class Outcome(Struct, frozen=True):
    """What is written after its check."""

    delivered: Checked | None
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


def _read_outcome(folder: Path) -> Outcome | None:
    try:
        return msgspec.msgpack.decode((folder / "outcome").read_bytes(), type=Outcome)
    except FileNotFoundError:
        return None

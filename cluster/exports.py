"""Where exports go: a folder here, or a place on any file system that pyarrow opens (`s3://…`, `gs://…`, `file:///…`).

Invariants: an exported ledger is there whole or not at all, because the file without which nobody reads it is written
last; nothing that is there already is written over, but an epoch's metagraph, which is a function of the ledger; what
cannot be written is told, and never ends a run.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.config import Storage
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.show import Progress
from ledger.errors import LedgerError, StoreError
from ledger.store.archive import export_chain
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_path, metagraph_table

LAST = "blocks.parquet"
"""It holds the genesis: an export without it is none, and what else is there was left by one that did not end."""
OTHERS = frozenset({"extrinsics.parquet", "metagraph.parquet"})
LEDGERS, EPOCH = "ledger", "epoch="
CHUNK_BYTES = 1 << 20
RETRY_S = 30
"""How long a bucket may refuse or be silent: an epoch is not held up for longer."""


def is_uri(place: Path | str) -> bool:
    """Whether a place is named by a URI, rather than by a path of this machine."""
    return "://" in str(place)


class Place:
    """A place for exports, by its URI. Every method raises StoreError.

    Attributes:
        uri: as a person is told: without keys and options.
    """

    def __init__(self, uri: str) -> None:
        self.uri = re.sub(r"//[^/@]*@", "//", uri.partition("?")[0]).rstrip("/")
        try:
            self._files, self._prefix = fs.FileSystem.from_uri(bounded(uri))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StoreError(f"no place for exports at {self.uri!r}: {_reason(error)}") from None
        if not self._prefix.strip("/"):
            raise StoreError(f"no place for exports at {self.uri!r}: name a bucket or folder")

    def names(self, folder: str = "", kind: fs.FileType = fs.FileType.File) -> list[str]:
        """The files in a folder of it, or its folders, sorted; none where there is no such folder."""
        with self._told("read"):
            found = self._files.get_file_info(fs.FileSelector(self._at(folder), allow_not_found=True))
            return sorted(info.base_name for info in found if info.type == kind)

    def put(self, source: Path, name: str) -> None:
        """Write a file, in the place of what is there under that name."""
        with self._told("written"):
            self._files.create_dir(self._at(name).rpartition("/")[0], recursive=True)
            with source.open("rb") as content, self._files.open_output_stream(self._at(name), compression=None) as out:
                while chunk := content.read(CHUNK_BYTES):
                    out.write(chunk)

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file of it to this machine."""
        with (
            self._told("read"),
            self._files.open_input_stream(self._at(name), compression=None) as content,
            target.open("wb") as out,
        ):
            while chunk := content.read(CHUNK_BYTES):
                out.write(chunk)

    def _at(self, name: str) -> str:
        return f"{self._prefix.rstrip('/')}/{name}".rstrip("/")

    @contextmanager
    def _told(self, how: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.uri} cannot be {how}: {_reason(error)}") from error


def send_export(chain: Chain, uri: str, folder: str = "") -> dict[str, int]:
    """Write a ledger's export to a place of which nothing is there yet; the rows of each file.

    Raises StoreError.
    """
    place = Place(uri)
    if set(place.names(folder)) - OTHERS:
        where = f"{place.uri}/{folder}".rstrip("/")
        raise StoreError(f"{where}: there is something here already; name a new place")
    with tempfile.TemporaryDirectory(prefix="taoray-export-") as aside:
        made = Path(aside) / "export"
        rows = export_chain(chain, made)
        for path in sorted(made.iterdir(), key=lambda path: (path.name == LAST, path.name)):
            place.put(path, f"{folder}/{path.name}".lstrip("/"))
    return rows


@contextmanager
def fetched_export(uri: str) -> Iterator[Path]:
    """An export from its place, as a folder of this machine that is gone at the end. Raises StoreError."""
    place = Place(uri)
    names = [name for name in place.names() if name.endswith(".parquet")]
    if LAST not in names:
        raise StoreError(f"{place.uri}: this is no export of a ledger (it has no {LAST})")
    aside = Path(tempfile.mkdtemp(prefix="taoray-import-"))
    try:
        for name in names:
            place.fetch(name, aside / name)
        yield aside
    finally:
        shutil.rmtree(aside)


def publish_epoch(storage: Storage, home: Home, epoch: int, show: Progress) -> None:
    """Send a closed epoch's metagraph to `storage.exports` and, every `storage.export_epochs` epochs, the whole ledger.

    What was not sent is told; the next epoch sends the metagraphs that are missing there.
    """
    if not storage.exports:
        return
    try:
        place = Place(storage.exports)
        with Chain.open(home.chain) as chain:
            there = set(place.names("metagraph"))
            for closed in range(1, epoch + 1):
                name = metagraph_path(chain.path, closed).name
                if name not in there or closed == epoch:
                    _put_metagraph(place, chain, closed, name)
            every = storage.export_epochs
            if every and epoch // every > _last_ledger(place) // every:
                send_export(chain, storage.exports, f"{LEDGERS}/{EPOCH}{epoch:06d}")
    except (ClusterError, LedgerError, OSError) as error:
        show.note(f"epoch {epoch} was not exported: {error}")


def _last_ledger(place: Place) -> int:
    """The epoch of the newest whole ledger in a place; 0 where there is none."""
    folders = place.names(LEDGERS, fs.FileType.Directory)
    whole = (name for name in reversed(folders) if name.startswith(EPOCH) and LAST in place.names(f"{LEDGERS}/{name}"))
    return int(next(whole, f"{EPOCH}0").removeprefix(EPOCH))


def _put_metagraph(place: Place, chain: Chain, epoch: int, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="taoray-export-") as aside:
        path = Path(aside) / name
        pq.write_table(metagraph_table(chain, epoch), path)
        place.put(path, f"metagraph/{name}")


def bounded(uri: str) -> str:
    """The URI, with a limit where pyarrow's own is a quarter of an hour for one call: Google's storage."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={RETRY_S}"


def _reason(error: Exception) -> str:
    """The first line of what a file system says, which may go on for a page."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

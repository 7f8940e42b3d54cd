"""What the server tells of a network: blocks, metagraphs, and epochs as they close, from the home's files.

Invariants: nothing is written; one reader of the ledger is open, and used by one thread at a time; a request reads a
bounded part of the history.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Struct

from cluster.archive import open_chain
from cluster.home import Home
from ledger.blocks import Block
from ledger.errors import StoreError
from ledger.extrinsics import decode_extrinsic
from ledger.keys import encode_address
from ledger.store.chain import Chain
from ledger.store.metagraph import metagraph_path, metagraph_table
from ledger.units import blake2b_256

MOST_BLOCKS = 100
MOST_BLOCK_BYTES = 32 << 20
"""In one answer, which carries a line an extrinsic: a reveal may have a megabyte, a block sixteen."""

READ_BYTES = 1 << 20
MOST_RECORD_BYTES = 1 << 26
"""An epoch's line has 300 bytes a neuron: more than the largest network's."""


class Called(Struct, frozen=True, kw_only=True):
    """An extrinsic of a block: its hash, the name of its call, who signed it, and `ok` or the refusal's code."""

    hash: bytes
    call: str
    signer: str
    nonce: int
    code: str


class BlockRecord(Struct, frozen=True, kw_only=True):
    """A block without the content of its extrinsics. Keys are addresses."""

    height: int
    epoch: int
    kind: str
    hash: bytes
    parent: bytes
    term: int
    state_root: bytes
    keeper: str
    final: bool
    extrinsics: tuple[Called, ...]


class Reader:
    """The ledger of a home, for reading. Its methods may be called from several threads."""

    def __init__(self, home: Home) -> None:
        self._lock = threading.Lock()
        self._chain = open_chain(home.folder)
        self.genesis = self._chain.genesis
        self.genesis_hash = self._chain.genesis_hash

    def metagraph(self, epoch: int | None) -> pa.Table:
        """The neurons at the close of an epoch, or as they are now.

        StoreError where it is not closed, or not written: deriving it again may take minutes.
        """
        with self._reading() as chain:
            if epoch is not None and not metagraph_path(chain.path, epoch).is_file():
                raise StoreError(f"there is no metagraph of epoch {epoch} here")
            return metagraph_table(chain, epoch)

    def blocks(self, first: int | None, last: int | None) -> list[BlockRecord]:
        """Blocks from `first` to `last`, at most MOST_BLOCKS, and no further than MOST_BLOCK_BYTES of extrinsics; by
        default the last twenty.

        Raises Pruned where the extrinsics of one of them were given up.
        """
        with self._reading() as chain:
            top = chain.head.height if last is None else min(last, chain.head.height)
            least = max(0, chain.pruned_height + 1 if chain.pruned_height else 0)
            low = max(least, top - 19) if first is None else first
            records: list[BlockRecord] = []
            left_bytes = MOST_BLOCK_BYTES
            for height in range(low, min(top, low + MOST_BLOCKS - 1) + 1):
                block = chain.block(height)
                left_bytes -= sum(len(data) for data in block.extrinsics)
                if records and left_bytes < 0:
                    break
                records.append(_record(block, chain.is_final(height)))
            return records

    def final_height(self) -> int:
        """The height of the last final block."""
        with self._reading() as chain:
            return chain.final_height

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._chain.close()

    @contextmanager
    def _reading(self) -> Iterator[Chain]:
        with self._lock:
            self._chain.refresh()
            yield self._chain


def _record(block: Block, final: bool) -> BlockRecord:
    header = block.header
    return BlockRecord(
        height=header.height,
        epoch=header.epoch,
        kind=header.kind,
        hash=block.hash,
        parent=header.parent,
        term=header.term,
        state_root=header.state_root,
        keeper=encode_address(header.keeper),
        final=final,
        extrinsics=tuple(_called(data, code) for data, code in zip(block.extrinsics, block.receipts, strict=True)),
    )


def _called(data: bytes, code: str) -> Called:
    extrinsic = decode_extrinsic(data)
    return Called(
        hash=blake2b_256(data),
        call=str(extrinsic.call.__struct_config__.tag),
        signer=encode_address(extrinsic.signer),
        nonce=extrinsic.nonce,
        code=code,
    )


class _Numbered(Struct):
    epoch: int


class Feed:
    """The records of closed epochs, one JSON line each, as the driver appends them. Where each begins is remembered,
    not what it says. Its method may be called from several threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int]] = {}
        self._offset = 0

    def after(self, epoch: int, most: int = 16) -> list[tuple[int, bytes]]:
        """The next records after an epoch, as (epoch, JSON), at most so many."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    self._index(file.seek(0, 2))
                    wanted = sorted(number for number in self._places if number > epoch)[:most]
                    return [(number, self._read(*self._places[number])) for number in wanted]
            except FileNotFoundError:
                return []

    def _read(self, offset: int, length: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def _index(self, size_bytes: int) -> None:
        """Take in the lines that were added. The last has no end yet: it counts where it is whole."""
        block_bytes = READ_BYTES
        while self._offset < size_bytes:
            *lines, rest = self._read(self._offset, block_bytes).split(b"\n")
            for line in lines:
                self._note(line)
                self._offset += len(line) + 1
            if self._offset + len(rest) >= size_bytes:
                self._offset += len(rest) if self._note(rest) else 0
                return
            if not lines and block_bytes >= MOST_RECORD_BYTES:
                self._offset += len(rest)
            block_bytes = READ_BYTES if lines else 2 * block_bytes

    def _note(self, line: bytes) -> bool:
        try:
            number = msgspec.json.decode(line, type=_Numbered).epoch
        except msgspec.DecodeError:
            return False
        self._places[number] = (self._offset, len(line))
        return True

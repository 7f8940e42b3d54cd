"""The format of a payload: what a member of a cohort sends, as bytes.

    magic 4 · version 1 · keep 2 · hash of the layout 32 · body · checksum 8 (BLAKE2b of all before)

The body of a sparse payload: a codebook of four bfloat16 per tensor, then a position of 12 bits within its chunk for
each coordinate, then a code of 2 bits for each: 14 bits a coordinate. The body of a dense one: float32. All numbers
are little-endian; what does not fill its last byte is padded with zeros.

Invariants: layout and keep alone say how long a payload is and how many coordinates each chunk sends, so length is
checked before anything else is read; nothing that a payload says is used as an index before it was checked.

Legend: T tensors, C chunks, N coordinates that are sent.
"""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import UpdateRefused
from models.train.cohort import CHUNK
from models.train.layout import Layout

MAGIC = b"taou"
VERSION = 1
HEADER = struct.Struct("<4sBH32s")
CHECKSUM_BYTES = 8
CODES = 4
"""Entries of a codebook: a sign and a magnitude, small or large."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of a layout, in order; none crosses from one tensor to the next.

    Attributes:
        start_C: int64, where it begins in the vector.
        length_C: int64, at most 4096; only the last of a tensor is shorter.
        kept_C: int64, how many coordinates are sent of it.
        tensor_C: int64, the tensor that it is part of.
        tensors: T.
    """

    start_C: NDArray[np.int64]
    length_C: NDArray[np.int64]
    kept_C: NDArray[np.int64]
    tensor_C: NDArray[np.int64]
    tensors: int

    @property
    def sent(self) -> int:
        """N."""
        return int(self.kept_C.sum())


def chunks_of(layout: Layout, keep: int) -> Chunks:
    """The chunks of a layout; a short one keeps its share of `keep` of 4096, rounded down, at least one."""
    starts = np.array(layout.starts, np.int64)
    sizes_T = np.diff(starts)
    count_T = -(-sizes_T // CHUNK)
    tensor_C = np.repeat(np.arange(len(sizes_T)), count_T)
    place_C = np.arange(len(tensor_C)) - np.repeat(np.cumsum(count_T) - count_T, count_T)
    length_C = np.minimum(CHUNK, sizes_T[tensor_C] - place_C * CHUNK)
    kept_C = np.maximum(1, length_C * keep // CHUNK)
    return Chunks(starts[tensor_C] + place_C * CHUNK, length_C, kept_C, tensor_C, len(sizes_T))


def payload_bytes(layout: Layout, keep: int) -> int:
    """How long every payload of a layout is."""
    if keep == CHUNK:
        body = 4 * layout.size
    else:
        chunks = chunks_of(layout, keep)
        body = 2 * CODES * chunks.tensors + -(-chunks.sent * 12 // 8) + -(-chunks.sent * 2 // 8)
    return HEADER.size + body + CHECKSUM_BYTES


def seal(body: bytes, layout: Layout, keep: int) -> bytes:
    """A payload with this body."""
    sealed = HEADER.pack(MAGIC, VERSION, keep, layout.hash) + body
    return sealed + _checksum(sealed)


def unseal(payload: bytes, layout: Layout, keep: int) -> memoryview:
    """The body of a payload. Raises UpdateRefused (`length`, `magic`, `version`, `keep`, `layout`, `checksum`)."""
    expected = payload_bytes(layout, keep)
    if len(payload) != expected:
        raise UpdateRefused("length", f"a payload of this cohort has {expected} bytes, not {len(payload)}")
    magic, version, stated, layout_hash = HEADER.unpack_from(payload)
    if magic != MAGIC:
        raise UpdateRefused("magic", f"a payload begins with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise UpdateRefused("version", f"payloads have version {VERSION}, not {version}")
    if stated != keep:
        raise UpdateRefused("keep", f"this cohort sends {keep} of {CHUNK} coordinates, not {stated}")
    if layout_hash != layout.hash:
        raise UpdateRefused("layout", "the payload is of a model with other parameters than the cohort's")
    view = memoryview(payload)
    if view[-CHECKSUM_BYTES:] != _checksum(view[:-CHECKSUM_BYTES]):
        raise UpdateRefused("checksum", "the payload is damaged: its checksum does not agree")
    return view[HEADER.size : -CHECKSUM_BYTES]


def _checksum(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest()


def unpack_positions(packed: memoryview, count: int) -> NDArray[np.int64]:
    """`count` numbers of 12 bits, int64 [count]. Raises UpdateRefused (`padding`)."""
    bytes_M3 = np.zeros((-(-count // 2), 3), np.uint16)
    bytes_M3.reshape(-1)[: len(packed)] = np.frombuffer(packed, np.uint8)
    place_M2 = np.empty((len(bytes_M3), 2), np.int64)
    place_M2[:, 0] = bytes_M3[:, 0] | (bytes_M3[:, 1] & 15) << 8
    place_M2[:, 1] = bytes_M3[:, 1] >> 4 | bytes_M3[:, 2] << 4
    place = place_M2.reshape(-1)
    return _without_padding(place, count)


def unpack_codes(packed: memoryview, count: int) -> NDArray[np.int64]:
    """`count` numbers of 2 bits, int64 [count]. Raises UpdateRefused (`padding`)."""
    codes_M4 = np.frombuffer(packed, np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return _without_padding(codes_M4.reshape(-1).astype(np.int64), count)


def _without_padding(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if numbers[count:].any():
        raise UpdateRefused("padding", "bits after the last number are not 0")
    return numbers[:count]


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16 of finite numbers, as bits; ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers that bits of bfloat16 are."""
    return (bits.astype(np.uint32) << 16).view(np.float32)

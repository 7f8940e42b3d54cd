"""Updates, compressed: the largest coordinates of each chunk, in 2 bits each, and what is left over for the next round.

Invariants: one vector has one payload, whatever device makes it; whatever the bytes are, `decode` gives an update
within the layout, or raises UpdateRefused; the norm of an update is rounded once, so that it is the same everywhere.

Legend: P parameters, T tensors, N coordinates that are sent.
"""

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import TrainingError, UpdateRefused
from models.train.cohort import OuterSettings
from models.train.encoding import DIVERGED, encode
from models.train.layout import Layout, Vector
from models.train.payload import (
    CODES,
    Chunks,
    chunks_of,
    from_bfloat16,
    seal,
    unpack_codes,
    unpack_positions,
    unseal,
)
from models.train.update import LARGEST, Update, flushed

LANES = 4096
"""Sums of squares that are kept side by side before they are added up exactly."""


def compress(vector_P: Vector, layout: Layout, outer: OuterSettings, device: str = "cpu") -> bytes:
    """What a member sends of `vector_P`, float32; the same bytes on every device.

    Raises TrainingError where it does not fit or is not finite.
    """
    if vector_P.shape != (layout.size,) or vector_P.dtype != np.float32:
        raise TrainingError(f"expected {layout.size} float32 parameters, got {vector_P.dtype} {vector_P.shape}")
    if outer.dense:
        if not (np.abs(vector_P) <= LARGEST).all():
            raise TrainingError(DIVERGED)
        return seal(flushed(vector_P).astype("<f4", copy=False).tobytes(), layout, outer.keep)
    there_P = torch.from_numpy(np.require(vector_P, requirements="W")).to(device)
    return seal(encode(there_P, chunks_of(layout, outer.keep)), layout, outer.keep)


def decode(payload: bytes, layout: Layout, outer: OuterSettings) -> Update:
    """The update that a payload is.

    Raises:
        UpdateRefused: `length`, `magic`, `version`, `keep`, `layout`, `checksum` (see `models.train.payload`),
            `padding`, `value` (not finite, or above `LARGEST`), `position` (beyond its chunk, twice, or not in order).
    """
    body = unseal(payload, layout, outer.keep)
    if outer.dense:
        dense_P = np.frombuffer(body, "<f4").astype(np.float32)
        _refuse_values(dense_P)
        dense_P = flushed(dense_P)
        return Update(None, dense_P, dense_norm(dense_P))
    chunks = chunks_of(layout, outer.keep)
    count = chunks.sent
    after_books = 2 * CODES * chunks.tensors
    after_places = after_books + -(-count * 12 // 8)
    codebook_TV = flushed(from_bfloat16(np.frombuffer(body[:after_books], "<u2").reshape(-1, CODES)))
    _refuse_values(codebook_TV)
    place_N = unpack_positions(body[after_books:after_places], count)
    _refuse_places(place_N, chunks)
    code_N = unpack_codes(body[after_places:], count)
    entry_N = np.repeat(chunks.tensor_C, chunks.kept_C) * CODES + code_N
    norm = sparse_norm(codebook_TV.reshape(-1), np.bincount(entry_N, minlength=CODES * chunks.tensors))
    return Update(_positions(place_N, chunks), codebook_TV.reshape(-1)[entry_N], norm)


def payload_hash(payload: bytes) -> bytes:
    """What names a payload on the ledger, 32 bytes: BLAKE2b-256."""
    return hashlib.blake2b(payload, digest_size=32).digest()


def accumulate(error_P: Vector | None, delta_P: Vector, outer: OuterSettings) -> Vector:
    """What there is to send: the pseudo-gradient, and what stays of all that was not sent before (None: nothing)."""
    if error_P is None:
        return delta_P.copy()
    if error_P.shape != delta_P.shape:
        raise TrainingError(f"an error of {error_P.shape} does not belong to a pseudo-gradient of {delta_P.shape}")
    accumulated_P: Vector = error_P * np.float32(outer.error_decay) + delta_P
    return accumulated_P


def keep_error(accumulated_P: Vector, update: Update) -> Vector:
    """What was not sent of what there was to send, once `update` has been taken note of."""
    error_P = accumulated_P.copy()
    error_P[slice(None) if update.position_N is None else update.position_N] -= update.value_N
    return error_P


def sparse_norm(codebook_V: NDArray[np.float32], count_V: NDArray[np.int64]) -> float:
    """The norm of values that are `count_V` times each of a codebook; exact sums, rounded once."""
    squares = codebook_V.astype(np.float64) ** 2
    return math.sqrt(math.fsum((squares * count_V).tolist()))


def dense_norm(value_P: Vector) -> float:
    """The norm of a whole vector: side by side in float64, in one order, then exactly."""
    lanes_L = np.zeros(LANES)
    for start in range(0, len(value_P), LANES):
        block = value_P[start : start + LANES].astype(np.float64)
        lanes_L[: len(block)] += block * block
    return math.sqrt(math.fsum(lanes_L.tolist()))


def _positions(place_N: NDArray[np.int64], chunks: Chunks) -> NDArray[np.int64]:
    return place_N + np.repeat(chunks.start_C, chunks.kept_C)


def _refuse_places(place_N: NDArray[np.int64], chunks: Chunks) -> None:
    if (place_N >= np.repeat(chunks.length_C, chunks.kept_C)).any():
        raise UpdateRefused("position", "a coordinate is beyond the end of its chunk")
    position_N = _positions(place_N, chunks)
    if (position_N[1:] <= position_N[:-1]).any():
        raise UpdateRefused("position", "the coordinates of a chunk do not ascend")


def _refuse_values(values: NDArray[np.float32]) -> None:
    if not (np.abs(values) <= LARGEST).all():
        raise UpdateRefused("value", f"a value is not finite, or above {LARGEST:.0f}")

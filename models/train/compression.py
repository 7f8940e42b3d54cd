"""Updates, compressed: the largest coordinates of each chunk, in 2 bits each, and what is left over for the next round.

A coordinate's value is sent as its sign and as small or large; a tensor's codebook has the means of these four bins.
What is small ends where the two means of its sign are equally far (Lloyd 1982, doi:10.1109/TIT.1982.1056489).

Invariants: of equal magnitudes the earlier coordinate is sent, so one vector has one payload; whatever the bytes are,
`decode` gives an update within the layout, or raises UpdateRefused; the norm of an update is rounded once, so that it
is the same everywhere.

Legend: P parameters, T tensors, C chunks, R chunks of one length, L coordinates of a chunk, K kept of them,
N coordinates that are sent, G a tensor's bins of one sign.
"""

import hashlib
import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import TrainingError, UpdateRefused
from models.train.cohort import OuterSettings
from models.train.layout import Layout, Vector
from models.train.payload import (
    CODES,
    Chunks,
    chunks_of,
    from_bfloat16,
    pack_codes,
    pack_positions,
    seal,
    to_bfloat16,
    unpack_codes,
    unpack_positions,
    unseal,
)
from models.train.update import Update, flushed

LARGEST = 65536.0
"""No parameter moves so far in a round; with it no sum of squares, and no step, overflows."""
SPLITS = 4
"""Times that the border between small and large is moved; it hardly moves after three."""
BLOCK_CHUNKS = 1024
"""Chunks whose magnitudes are looked at together: a copy of 16 MiB at most."""
LANES = 4096
"""Sums of squares that are kept side by side before they are added up exactly."""


def compress(vector_P: Vector, layout: Layout, outer: OuterSettings) -> bytes:
    """What a member sends of `vector_P`, float32. Raises TrainingError where it does not fit or is not finite."""
    if vector_P.shape != (layout.size,) or vector_P.dtype != np.float32:
        raise TrainingError(f"expected {layout.size} float32 parameters, got {vector_P.dtype} {vector_P.shape}")
    if outer.dense:
        _check_bounds(vector_P)
        return seal(flushed(vector_P).astype("<f4", copy=False).tobytes(), layout, outer.keep)
    chunks = chunks_of(layout, outer.keep)
    place_N = largest_places(vector_P, chunks)
    position_N = _positions(place_N, chunks)
    value_N = vector_P[position_N]
    _check_bounds(value_N)
    code_N, codebook_TV = quantised(value_N, np.repeat(chunks.tensor_C, chunks.kept_C), chunks.tensors)
    body = to_bfloat16(codebook_TV).tobytes() + pack_positions(place_N) + pack_codes(code_N)
    return seal(body, layout, outer.keep)


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


def largest_places(vector_P: Vector, chunks: Chunks) -> NDArray[np.int64]:
    """Where in their chunks the largest magnitudes are, ascending within each, int64 [N]."""
    place_N = np.empty(chunks.sent, np.int64)
    ends_C = np.cumsum(chunks.kept_C)
    for first, last in _runs(chunks):
        length, kept = int(chunks.length_C[first]), int(chunks.kept_C[first])
        start = int(chunks.start_C[first])
        rows = torch.from_numpy(np.require(vector_P[start : start + (last - first) * length], requirements="W"))
        found = _largest(rows.view(last - first, length), kept)
        place_N[ends_C[first] - kept : ends_C[last - 1]] = found.reshape(-1)
    return place_N


def _runs(chunks: Chunks) -> list[tuple[int, int]]:
    """Runs of chunks of one length, side by side in the vector; at most `BLOCK_CHUNKS` each."""
    borders = [0, *(np.flatnonzero(np.diff(chunks.length_C)) + 1).tolist(), len(chunks.length_C)]
    return [
        (start, min(start + BLOCK_CHUNKS, end))
        for first, end in pairwise(borders)
        for start in range(first, end, BLOCK_CHUNKS)
    ]


def _largest(rows_RL: torch.Tensor, kept: int) -> NDArray[np.int64]:
    """The places of the `kept` largest magnitudes of each row, ascending, int64 [R, K]; of equal ones the first."""
    magnitude_RL = rows_RL.abs()
    more = min(kept + 1, magnitude_RL.shape[1])
    value_RK, place_RK = magnitude_RL.topk(more, dim=1)
    found_RK = place_RK[:, :kept].numpy()
    if more > kept:
        tied_R = (value_RK[:, kept - 1] == value_RK[:, kept]).nonzero()[:, 0]
        if len(tied_R):
            order_RL = magnitude_RL[tied_R].sort(dim=1, descending=True, stable=True).indices
            found_RK[tied_R.numpy()] = order_RL[:, :kept].numpy()
    found_RK.sort(axis=1)
    return found_RK


def quantised(
    value_N: Vector, tensor_N: NDArray[np.int64], tensors: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Values as codes of 2 bits (1: large, 2: negative), int64 [N], and the codebooks, float32 [T, 4].

    Args:
        tensor_N: the tensor of each value.
        tensors: T.
    """
    bins_G = 2 * tensors
    negative_N = value_N < 0
    bin_N = 2 * tensor_N + negative_N
    magnitude_N = np.abs(value_N).astype(np.float64)
    count_G = np.maximum(1, np.bincount(bin_N, minlength=bins_G))
    total_G = np.bincount(bin_N, magnitude_N, bins_G)
    border_G = total_G / count_G
    for _ in range(SPLITS):
        large_N = magnitude_N > border_G[bin_N]
        larger_G = np.bincount(bin_N, large_N, bins_G)
        above_G = np.bincount(bin_N, magnitude_N * large_N, bins_G)
        mean_large_G = above_G / np.maximum(1, larger_G)
        mean_small_G = (total_G - above_G) / np.maximum(1, count_G - larger_G)
        border_G = np.where(larger_G > 0, (mean_small_G + mean_large_G) / 2, border_G)
    code_N = 2 * negative_N + (magnitude_N > border_G[bin_N])
    entry_N = CODES * tensor_N + code_N
    size = CODES * tensors
    mean_TV = np.bincount(entry_N, value_N, size) / np.maximum(1, np.bincount(entry_N, minlength=size))
    return code_N, flushed(mean_TV.astype(np.float32)).reshape(tensors, CODES)


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


def _check_bounds(values: NDArray[np.float32]) -> None:
    if not (np.abs(values) <= LARGEST).all():
        raise TrainingError("training diverged: the update is not finite, or far too large; lower the learning rate")

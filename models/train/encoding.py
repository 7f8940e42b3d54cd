"""The body of a sparse payload, made on the device that the vector is on: places, codes and codebooks, as bytes.

Invariants: of equal magnitudes the earlier coordinate is sent; every sum is of whole numbers, so that the same vector
has the same bytes on every device, however many threads add; nothing waits for the device but the copy at the end.

What it costs: one pass over all numbers, for the largest of each group of `GROUP`, which alone, with one group more for
each coordinate that is sent, are compared further; then some thirty passes over those that are sent, one of 64.

A coordinate's value is sent as its sign and as small or large; a tensor's codebook has the means of these four bins.
What is small ends where the two means of its sign are equally far (Lloyd 1982, doi:10.1109/TIT.1982.1056489).

Legend: P parameters, T tensors, C chunks, R chunks of one length, L coordinates of a chunk, K kept of them, G groups of
a chunk, N coordinates that are sent, S the two signs.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.errors import TrainingError
from models.train.cohort import CHUNK
from models.train.payload import CODES, Chunks, to_bfloat16
from models.train.update import LARGEST, flushed

DIVERGED = "training diverged: the update is not finite, or far too large; lower the learning rate"
SPLITS = 4
"""Times that the border between small and large is moved; it hardly moves after three."""
BLOCK_CHUNKS = {"cpu": 256, "cuda": 1 << 16}
"""Chunks whose magnitudes are looked at together: a copy of 4 MiB on a CPU, of 1 GiB on a GPU at most."""
GROUP = 8
"""Coordinates side by side whose largest is found first; of 4 to 32 the quickest, with 64 of 4096 sent."""
MAGNITUDE = 0x7FFFFFFF
"""Bits of a float32 that are not its sign: as whole numbers they are in the order of the magnitudes, NaN above all."""
LARGEST_BITS = int(np.float32(LARGEST).view(np.int32))
PLACE_BITS = 12
SCALE_BITS = 31
"""Of a magnitude as a whole number, where its tensor's largest has all of them: sums of 2^32 are exact in 64 bits."""


def encode(vector_P: Tensor, chunks: Chunks) -> bytes:
    """What is sent of `vector_P`, float32. Raises TrainingError where that is not finite, or far too large."""
    device = vector_P.device
    place_N, most_C = largest_places(vector_P, chunks)
    kept_C, start_C, tensor_C = (
        torch.from_numpy(own).to(device) for own in (chunks.kept_C, chunks.start_C, chunks.tensor_C)
    )
    value_N = vector_P[place_N + start_C.repeat_interleave(kept_C, output_size=chunks.sent)]
    most_T = torch.zeros(chunks.tensors, dtype=torch.int64, device=device).scatter_reduce(0, tensor_C, most_C, "amax")
    code_N, sum_TV, count_TV = quantise(value_N, most_T, chunks)
    packed = torch.cat([pack_places(place_N), pack_codes(code_N)])
    # The copy to the host ends the work on the device; into pinned memory where there is a GPU.
    body = packed.to("cpu", non_blocking=True)
    most_T, sum_TV, count_TV = most_T.cpu(), sum_TV.cpu(), count_TV.cpu()
    if int(most_T.max()) > LARGEST_BITS:
        raise TrainingError(DIVERGED)
    mean_TV = sum_TV.numpy() / np.maximum(1, count_TV.numpy()) / scale_of(most_T).numpy()[:, None]
    mean_TV[:, CODES // 2 :] *= -1.0
    return to_bfloat16(flushed(mean_TV.astype(np.float32))).tobytes() + body.numpy().tobytes()


def largest_places(vector_P: Tensor, chunks: Chunks) -> tuple[Tensor, Tensor]:
    """Where in their chunks the largest magnitudes are, ascending within each, int64 [N]; and each chunk's largest, as
    the bits of a float32, int64 [C].
    """
    places, most = [], []
    for first, last in _runs(chunks, BLOCK_CHUNKS["cuda" if vector_P.is_cuda else "cpu"]):
        length, kept, start = (int(own[first]) for own in (chunks.length_C, chunks.kept_C, chunks.start_C))
        rows_RL = vector_P[start : start + (last - first) * length].view(last - first, length)
        key_RK = _largest(rows_RL.view(torch.int32) & MAGNITUDE, kept)
        most.append(key_RK.amax(1) >> PLACE_BITS)
        places.append((CHUNK - 1 - (key_RK & (CHUNK - 1))).sort(1).values.flatten())
    return torch.cat(places), torch.cat(most)


def _runs(chunks: Chunks, block_chunks: int) -> Iterator[tuple[int, int]]:
    """Runs of chunks of one length, side by side in the vector; at most `block_chunks` each."""
    borders = [0, *(np.flatnonzero(np.diff(chunks.length_C)) + 1).tolist(), len(chunks.length_C)]
    for first, end in pairwise(borders):
        for start in range(first, end, block_chunks):
            yield start, min(start + block_chunks, end)


def _largest(bits_RL: Tensor, kept: int) -> Tensor:
    """Keys of the `kept` largest of each row, in no order, int64 [R, K]: a key has the bits, and then the place from
    behind, so that of equal ones the first is largest.

    Whoever is among the K largest is in one of the K groups with the largest maxima, of equal ones the first.
    """
    rows, length = bits_RL.shape
    device = bits_RL.device
    if length % GROUP or kept * GROUP >= length:
        return _keys(bits_RL, torch.arange(length, device=device)).topk(kept, 1, sorted=False).values
    groups = length // GROUP
    most_RG = bits_RL.view(rows, groups, GROUP).amax(2)
    key_RK = _keys(most_RG, torch.arange(groups, device=device)).topk(kept, 1, sorted=False).values
    group_RK = CHUNK - 1 - (key_RK & (CHUNK - 1))
    first_R1 = torch.arange(rows, device=device)[:, None] * groups
    found = bits_RL.view(-1, GROUP).index_select(0, (group_RK + first_R1).flatten())
    place = group_RK[:, :, None] * GROUP + torch.arange(GROUP, device=device)
    return _keys(found.view(rows, -1), place.view(rows, -1)).topk(kept, 1, sorted=False).values


def _keys(bits: Tensor, place: Tensor) -> Tensor:
    return (bits.long() << PLACE_BITS) + (CHUNK - 1 - place)


def quantise(value_N: Tensor, most_T: Tensor, chunks: Chunks) -> tuple[Tensor, Tensor, Tensor]:
    """Values as codes of 2 bits (1: large, 2: negative), uint8 [N], and of each tensor's four codes the sum of the
    magnitudes and the number of values, int64 [T, 4]; magnitudes are whole numbers, see `scale_of`.

    Args:
        most_T: the largest magnitude of each tensor, as the bits of a float32.
    """
    count_T = np.bincount(chunks.tensor_C, chunks.kept_C, chunks.tensors).astype(np.int64)
    edge_E = torch.from_numpy(np.concatenate([[0], np.cumsum(count_T)])).to(value_N.device)
    tensor_N = torch.arange(chunks.tensors, device=value_N.device).repeat_interleave(
        torch.from_numpy(count_T).to(value_N.device), output_size=chunks.sent
    )
    sign_N = (value_N < 0).long()
    whole_N = (value_N.abs().double() * scale_of(most_T)[tensor_N]).long()
    bin_N = 2 * tensor_N + sign_N

    def sums(numbers_N: Tensor) -> Tensor:
        """Of each tensor and sign, [T, 2]."""
        both_SN = torch.stack([numbers_N, numbers_N * sign_N])
        total_SN = torch.nn.functional.pad(both_SN.cumsum(1), (1, 0))
        every_T, negative_T = total_SN[:, edge_E].diff(dim=1)
        return torch.stack([every_T - negative_T, negative_T], 1)

    total_TS, count_TS = sums(whole_N), sums(torch.ones_like(whole_N))
    border_TS = total_TS / count_TS.clamp(min=1)
    for left in reversed(range(SPLITS + 1)):
        large_N = whole_N > border_TS.floor().long().flatten()[bin_N]
        larger_TS, above_TS = sums(large_N.long()), sums(whole_N * large_N)
        if left:
            mean_large_TS = above_TS / larger_TS.clamp(min=1)
            mean_small_TS = (total_TS - above_TS) / (count_TS - larger_TS).clamp(min=1)
            border_TS = torch.where(larger_TS > 0, (mean_small_TS + mean_large_TS) / 2, border_TS)
    sum_TV = torch.stack([total_TS - above_TS, above_TS], 2).flatten(1)
    count_TV = torch.stack([count_TS - larger_TS, larger_TS], 2).flatten(1)
    return (2 * sign_N + large_N).to(torch.uint8), sum_TV, count_TV


def scale_of(most_T: Tensor) -> Tensor:
    """The power of two that magnitudes are multiplied with to be whole numbers of 31 bits at most, float64 [T].

    So what is less than 2^-31 of its tensor's largest is averaged as 0.
    """
    exponent_T = SCALE_BITS + 126 - (most_T >> 23)
    return (exponent_T + 1023 << 52).view(torch.float64)


def pack_places(place_N: Tensor) -> Tensor:
    """Numbers below 4096 in 12 bits each, two in three bytes: uint8."""
    pairs_M2 = torch.nn.functional.pad(place_N, (0, len(place_N) % 2)).view(-1, 2)
    joined_M1 = (pairs_M2[:, :1] | pairs_M2[:, 1:] << 12).int()
    return joined_M1.view(torch.uint8)[:, :3].flatten()[: -(-len(place_N) * 12 // 8)]


def pack_codes(code_N: Tensor) -> Tensor:
    """Numbers below 4 in 2 bits each, four in a byte: uint8."""
    fours_M4 = torch.nn.functional.pad(code_N, (0, -len(code_N) % 4)).view(-1, 4)
    return fours_M4[:, 0] | fours_M4[:, 1] << 2 | fours_M4[:, 2] << 4 | fours_M4[:, 3] << 6

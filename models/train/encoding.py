"""The body of a sparse payload, made on the device that the vector is on: places, codes and codebooks, as bytes.

Invariants: of equal magnitudes the earlier coordinate is sent; every sum is of whole numbers, so that the same vector
has the same bytes on every device, however many threads add; what waits for the device is the look for equal
magnitudes, once, and the copy at the end.

What it costs: one pass over all numbers, for the largest of each group of `GROUP`, and one over the groups that are
looked at further, one more than there are coordinates to send; then some forty passes over what is sent, one of 64.

A coordinate's value is sent as its sign and as small or large; a tensor's codebook has the means of these four bins.
What is small ends where the two means of its sign are equally far (Lloyd 1982, doi:10.1109/TIT.1982.1056489).

Legend: P parameters, T tensors, C chunks, R chunks of one length side by side, L coordinates of a chunk, K kept of
them, G groups of a chunk, M one more than K, N coordinates that are sent, V codes.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.errors import TrainingError
from models.train.cohort import CHUNK
from models.train.payload import Chunks, to_bfloat16
from models.train.update import LARGEST, flushed

DIVERGED = "training diverged: the update is not finite, or far too large; lower the learning rate"
SPLITS = 4
"""Times that the border between small and large is moved; it hardly moves after three."""
BLOCK_CHUNKS = {"cpu": 1024, "cuda": 1 << 16}
"""Chunks that are looked at together: a copy of 16 MiB on a CPU, where threads that met more often were slower; on a
GPU, which makes no copy, 1 GiB."""
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
    place_N, most_C = largest_places(vector_P, chunks)
    value_CK = rows_of(vector_P, place_N, chunks)
    tensor_C = torch.from_numpy(chunks.tensor_C).to(vector_P.device)
    most_T = most_C.new_zeros(chunks.tensors).scatter_reduce(0, tensor_C, most_C, "amax")
    code_CK, sum_TV, count_TV = quantise(value_CK, most_T, chunks)
    code_N = torch.cat([code_CK[first:last, :kept].flatten() for first, last, kept in _same(chunks)])
    packed = torch.cat([pack_places(place_N), pack_codes(code_N)])
    # The copy to the host ends the work on the device; into pinned memory where there is a GPU.
    body = packed.to("cpu", non_blocking=True)
    most_T, sum_TV, count_TV = most_T.cpu(), sum_TV.cpu(), count_TV.cpu()
    if int(most_T.max()) > LARGEST_BITS:
        raise TrainingError(DIVERGED)
    mean_TV = sum_TV.numpy() / np.maximum(1, count_TV.numpy()) / scale_of(most_T).numpy()[:, None]
    return to_bfloat16(flushed(mean_TV.astype(np.float32))).tobytes() + body.numpy().tobytes()


def largest_places(vector_P: Tensor, chunks: Chunks) -> tuple[Tensor, Tensor]:
    """Where in their chunks the largest magnitudes are, ascending within each, int64 [N]; and each chunk's largest, as
    the bits of a float32, int64 [C].
    """
    places, most, ties = [], [], []
    runs = list(_runs(chunks, BLOCK_CHUNKS["cuda" if vector_P.is_cuda else "cpu"]))
    for first, last in runs:
        rows_RL, kept = _chunk_rows(vector_P, chunks, first, last), int(chunks.kept_C[first])
        place_RK, most_R, tied_R = _largest(rows_RL, kept, one_pass=vector_P.is_cuda)
        places.append(place_RK)
        most.append(most_R)
        ties.append(tied_R)
    if bool(torch.cat(ties).any()):
        for (first, last), place_RK, tied_R in zip(runs, places, ties, strict=True):
            row_X = tied_R.nonzero()[:, 0]
            place_RK[row_X] = _earliest(_chunk_rows(vector_P, chunks, first, last)[row_X], place_RK.shape[1])
    return torch.cat([place_RK.sort(1).values.flatten() for place_RK in places]), torch.cat(most).long()


def _chunk_rows(vector_P: Tensor, chunks: Chunks, first: int, last: int) -> Tensor:
    """Chunks of one length that lie side by side, [R, L]."""
    start, length = int(chunks.start_C[first]), int(chunks.length_C[first])
    return vector_P[start : start + (last - first) * length].view(last - first, length)


def _runs(chunks: Chunks, block_chunks: int) -> Iterator[tuple[int, int]]:
    """Runs of chunks of one length, side by side in the vector; at most `block_chunks` each."""
    borders = [0, *(np.flatnonzero(np.diff(chunks.length_C)) + 1).tolist(), len(chunks.length_C)]
    for first, end in pairwise(borders):
        for start in range(first, end, block_chunks):
            yield start, min(start + block_chunks, end)


def _same(chunks: Chunks) -> list[tuple[int, int, int]]:
    """All runs of chunks of one length, and how many coordinates are sent of each chunk."""
    return [(first, last, int(chunks.kept_C[first])) for first, last in _runs(chunks, len(chunks.length_C))]


def _largest(rows_RL: Tensor, kept: int, *, one_pass: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The places of the `kept` largest magnitudes of each row, in no order, int64 [R, K]; the bits of the largest one,
    int32 [R]; and whether the smallest of them has an equal that was left out.

    Whatever is among the M largest is equal to one in any M groups with the largest maxima.
    """
    rows, length = rows_RL.shape
    more = min(kept + 1, length)
    grouped = length % GROUP == 0 and more * GROUP < length
    looked_RX = rows_RL
    if grouped:
        group_RM = group_maxima(rows_RL.view(rows, -1, GROUP), one_pass).topk(more, 1, sorted=False).indices
        first_R1 = torch.arange(0, rows * (length // GROUP), length // GROUP, device=rows_RL.device)[:, None]
        found = rows_RL.view(-1, GROUP).index_select(0, (group_RM + first_R1).flatten())
        looked_RX = found.view(rows, more * GROUP)
    bits_RM, at_RM = (looked_RX.view(torch.int32) & MAGNITUDE).topk(more, 1)
    tied_R = (
        bits_RM[:, kept - 1] == bits_RM[:, -1] if more > kept else torch.zeros_like(bits_RM[:, 0], dtype=torch.bool)
    )
    place_RK = at_RM[:, :kept]
    if grouped:
        place_RK = group_RM.gather(1, place_RK // GROUP) * GROUP + place_RK % GROUP
    return place_RK.contiguous(), bits_RM[:, 0], tied_R


def group_maxima(rows_RGE: Tensor, one_pass: bool) -> Tensor:
    """The bits of the largest magnitude of each group, int32 [R, G].

    Args:
        one_pass: a copy of all magnitudes is not made, as memory is what a GPU waits for; on a CPU, where that stays in
            its cache, it was five times quicker than least and most of each group.
    """
    if one_pass:
        least_RG, most_RG = rows_RGE.aminmax(dim=2)
        return torch.maximum(most_RG, -least_RG).view(torch.int32) & MAGNITUDE
    return (rows_RGE.view(torch.int32) & MAGNITUDE).amax(2)


def _earliest(rows_RL: Tensor, kept: int) -> Tensor:
    """The places of the `kept` largest magnitudes of each row, of equal ones the first, in no order."""
    behind_L = torch.arange(CHUNK - 1, CHUNK - 1 - rows_RL.shape[1], -1, device=rows_RL.device)
    key_RL = (rows_RL.view(torch.int32) & MAGNITUDE).long() << PLACE_BITS | behind_L
    return CHUNK - 1 - (key_RL.topk(kept, 1, sorted=False).values & (CHUNK - 1))


def rows_of(vector_P: Tensor, place_N: Tensor, chunks: Chunks) -> Tensor:
    """The values at some places, a row for each chunk: float32 [C, K], zeros behind those of a short one."""
    widest = int(chunks.kept_C.max())
    parts, taken = [], 0
    for first, last, kept in _same(chunks):
        place_RK = place_N[taken : taken + (last - first) * kept].view(last - first, kept)
        value_RK = _chunk_rows(vector_P, chunks, first, last).gather(1, place_RK)
        parts.append(functional.pad(value_RK, (0, widest - kept)))
        taken += place_RK.numel()
    return torch.cat(parts)


def quantise(value_CK: Tensor, most_T: Tensor, chunks: Chunks) -> tuple[Tensor, Tensor, Tensor]:
    """Values as codes of 2 bits (1: large, 2: negative), uint8 [C, K], and of each tensor's four codes the sum and the
    number of its values, int64 [T, 4]; they are whole numbers, see `scale_of`.

    Args:
        value_CK: zeros behind the values of a chunk of which fewer are sent.
        most_T: the largest magnitude of each tensor, as the bits of a float32.
    """
    device = value_CK.device
    tensor_C, kept_C = (torch.from_numpy(own).to(device) for own in (chunks.tensor_C, chunks.kept_C))
    edge_E = torch.from_numpy(np.searchsorted(chunks.tensor_C, np.arange(chunks.tensors + 1))).to(device)
    whole_CK = (value_CK.double() * scale_of(most_T)[tensor_C][:, None]).int()
    negative_CK = value_CK < 0

    def totals(positive_C: Tensor, negative_C: Tensor) -> Tensor:
        """Sums over each tensor's chunks, int64 [T, 2]."""
        total_SC = torch.stack([positive_C, negative_C]).cumsum(1)
        return functional.pad(total_SC, (1, 0))[:, edge_E].diff(dim=1).T

    below_C = negative_CK.sum(1)
    under_C = (whole_CK * negative_CK).sum(1)
    count_T2 = totals(kept_C - below_C, below_C)
    total_T2 = totals(whole_CK.sum(1) - under_C, -under_C)
    border_T2 = total_T2 / count_T2.clamp(min=1)
    for left in reversed(range(SPLITS + 1)):
        border_C2 = border_T2.floor().int()[tensor_C]
        over_CK, under_CK = whole_CK > border_C2[:, :1], whole_CK < -border_C2[:, 1:]
        larger_T2 = totals(over_CK.sum(1), under_CK.sum(1))
        above_T2 = totals((whole_CK * over_CK).sum(1), -(whole_CK * under_CK).sum(1))
        if left:
            mean_large_T2 = above_T2 / larger_T2.clamp(min=1)
            mean_small_T2 = (total_T2 - above_T2) / (count_T2 - larger_T2).clamp(min=1)
            border_T2 = torch.where(larger_T2 > 0, (mean_small_T2 + mean_large_T2) / 2, border_T2)
    code_CK = (over_CK | under_CK).to(torch.uint8) + 2 * negative_CK.to(torch.uint8)
    sum_T22 = torch.stack([total_T2 - above_T2, above_T2], 2) * torch.tensor([[1], [-1]], device=device)
    return code_CK, sum_T22.flatten(1), torch.stack([count_T2 - larger_T2, larger_T2], 2).flatten(1)


def scale_of(most_T: Tensor) -> Tensor:
    """The power of two that magnitudes are multiplied with to be whole numbers of 31 bits at most, float64 [T].

    So what is less than 2^-31 of its tensor's largest is averaged as 0.
    """
    exponent_T = SCALE_BITS + 126 - (most_T >> 23)
    return (exponent_T + 1023 << 52).view(torch.float64)


def pack_places(place_N: Tensor) -> Tensor:
    """Numbers below 4096 in 12 bits each, two in three bytes: uint8."""
    pairs_M2 = functional.pad(place_N, (0, len(place_N) % 2)).view(-1, 2)
    joined_M1 = (pairs_M2[:, :1] | pairs_M2[:, 1:] << 12).int()
    return joined_M1.view(torch.uint8)[:, :3].flatten()[: -(-len(place_N) * 12 // 8)]


def pack_codes(code_N: Tensor) -> Tensor:
    """Numbers below 4 in 2 bits each, four in a byte: uint8."""
    fours_M4 = functional.pad(code_N, (0, -len(code_N) % 4)).view(-1, 4)
    return fours_M4[:, 0] | fours_M4[:, 1] << 2 | fours_M4[:, 2] << 4 | fours_M4[:, 3] << 6

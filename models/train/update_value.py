"""What each update of a step is worth: the bits by which it shortens held-out text, along the path that is taken.

Invariants: θ(s) = θ + s·Σ δ_i is the straight path to the step that is taken, and φ_i = −∫ ∇L(θ(s))·δ_i ds, the
Aumann-Shapley value of δ_i (Aumann and Shapley 1974; as path integral Sundararajan et al. 2017, arXiv:1703.01365), by
Gauss-Legendre quadrature: a handful of gradients value all updates at once, and the values sum to the true change of
the loss. An update that is sent twice with opposite signs gets opposite values. Sparse parts stay sparse.

Legend: P parameters, W windows of T bytes, U updates by ascending uid, G groups of windows: of whole documents.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.train.layout import Vector, write_vector
from models.train.step import Part, Step, apply_step

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Floats = NDArray[np.float64]
Text = NDArray[np.uint8]
BATCH = 8
"""Windows of a gradient: the quickest on a CPU, and enough groups for a standard error."""


@dataclass(frozen=True)
class UpdateValues:
    """Values of the updates of one step on one validator's held-out windows.

    Attributes:
        uids: ascending.
        bits_UG: by how many bits each update shortens the text of each group.
        bytes_G: bytes of each group that are predicted.
        path_bits: what the whole path shortens the text by, bits per byte: all values, and what momentum carries.
        measured_bits: the same from the losses at both ends of the path.
    """

    uids: tuple[int, ...]
    bits_UG: Floats
    bytes_G: NDArray[np.int64]
    path_bits: float
    measured_bits: float

    @property
    def value_U(self) -> Floats:
        """φ, bits per byte; above 0: the text is shorter with it."""
        value_U: Floats = self.bits_UG.sum(axis=1) / self.bytes_G.sum()
        return value_U

    @property
    def se_U(self) -> Floats:
        """Standard error of each value over groups, bits per byte: of a ratio (Cochran 1977, section 6.4)."""
        return ratio_errors(self.bits_UG, self.bytes_G)

    def values(self) -> dict[int, float]:
        """φ by uid, bits per byte."""
        return dict(zip(self.uids, self.value_U.tolist(), strict=True))


def value_step(
    model: "PreTrainedModel",
    theta_P: Vector,
    step: Step,
    text_WT: Text,
    groups_W: NDArray[np.integer],
    *,
    nodes: int = 5,
    batch: int = BATCH,
) -> UpdateValues:
    """Value every update of `step` from θ on windows of held-out text.

    Args:
        model: of the cohort's architecture, on any device; it is left in eval mode, with θ.
        groups_W: what each window belongs to (its document): errors of windows of one group go together.
        nodes: points of the quadrature, each a gradient over all windows.
        batch: windows of one gradient.
    """
    model.train(False)
    after_P = apply_step(theta_P, step)
    parts = [step.parts[uid] for uid in sorted(step.parts)]
    carried = [] if step.carried_P is None else [Part(None, step.carried_P)]
    dots = Dots([*parts, *carried], model.device)
    batches = list(cut_batches(groups_W, batch))
    bytes_G = np.zeros(batches[-1][0] + 1, np.int64)
    for group, rows in batches:
        bytes_G[group] += text_WT[rows, 1:].size
    bits_QG = np.zeros((len(dots), len(bytes_G)))
    places, weights = np.polynomial.legendre.leggauss(nodes)
    for place, weight in zip((places + 1.0) / 2.0, weights / 2.0, strict=True):
        write_vector(model, theta_P + np.float32(place) * (after_P - theta_P))
        for group, rows in batches:
            bits_QG[:, group] -= weight * dots.with_gradient(gradient(model, text_WT[rows]))
    write_vector(model, after_P)
    after_bits = text_bits(model, text_WT, batch)
    write_vector(model, theta_P)
    before_bits = text_bits(model, text_WT, batch)
    total = int(bytes_G.sum())
    path_bits = float(bits_QG.sum()) / total
    uids = tuple(sorted(step.parts))
    return UpdateValues(uids, bits_QG[: len(parts)], bytes_G, path_bits, (before_bits - after_bits) / total)


def ratio_errors(bits_UG: Floats, bytes_G: NDArray[np.int64]) -> Floats:
    """Standard errors of Σ bits / Σ bytes over groups, for each row; NaN from a single group."""
    groups = len(bytes_G)
    if groups < 2:
        return np.full(len(bits_UG), np.nan)
    total = bytes_G.sum()
    rest_UG = bits_UG - bits_UG.sum(axis=1, keepdims=True) / total * bytes_G
    errors: Floats = np.sqrt(groups / (groups - 1) * (rest_UG**2).sum(axis=1)) / total
    return errors


def cut_batches(groups_W: NDArray[np.integer], batch: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Windows in batches, each with the number of its joint group: whole groups, as many as fit into a batch.

    A group that is larger than a batch alone gets several batches.
    """
    order = np.argsort(groups_W, kind="stable")
    ends = [*np.flatnonzero(np.diff(groups_W[order])) + 1, len(order)]
    number, start, taken = 0, 0, 0
    for end in ends:
        if taken > start and end - start > batch:
            yield from ((number, order[at : min(at + batch, taken)]) for at in range(start, taken, batch))
            number, start = number + 1, taken
        taken = int(end)
    yield from ((number, order[at : at + batch]) for at in range(start, len(order), batch))


class Dots:
    """Scalar products of many parts with one dense vector, sparse ones all at once."""

    def __init__(self, parts: list[Part], device: torch.device) -> None:
        sparse = [(row, part) for row, part in enumerate(parts) if part.position_N is not None]
        self._dense = [
            (row, torch.from_numpy(part.value_N).to(device))
            for row, part in enumerate(parts)
            if part.position_N is None
        ]
        self._count = len(parts)
        self._rows = [row for row, _ in sparse]
        self._ends = np.cumsum([0, *(len(part.value_N) for _, part in sparse)])
        self._position = joined(
            [part.position_N for _, part in sparse if part.position_N is not None], np.int64, device
        )
        self._value = joined([part.value_N for _, part in sparse], np.float32, device)

    def __len__(self) -> int:
        return self._count

    def with_gradient(self, vector_P: "Tensor") -> Floats:
        """Each part's product with `vector_P`, float64; products are summed in float64."""
        found = np.zeros(self._count)
        for row, value_P in self._dense:
            found[row] = torch.dot(value_P, vector_P).item()
        products = (vector_P[self._position] * self._value).double().cpu().numpy()
        for row, (start, end) in zip(self._rows, pairwise(self._ends), strict=True):
            found[row] = products[start:end].sum()
        return found


def joined(arrays: list[NDArray[np.generic]], dtype: type[np.generic], device: torch.device) -> "Tensor":
    """Arrays one after the other, on a device."""
    return torch.from_numpy(np.concatenate([np.empty(0, dtype), *arrays])).to(device)


def gradient(model: "PreTrainedModel", text_BT: Text) -> "Tensor":
    """The gradient of the bits of some text with respect to all parameters, float32 [P], in a layout's order."""
    named = sorted(model.named_parameters())
    bits = batch_bits(model, text_BT)
    parts = torch.autograd.grad(bits, [parameter for _, parameter in named], allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(parameter) if part is None else part).reshape(-1)
            for part, (_, parameter) in zip(parts, named, strict=True)
        ]
    )


def text_bits(model: "PreTrainedModel", text_WT: Text, batch: int) -> float:
    """How many bits a model needs for text, without the first byte of each window."""
    with torch.no_grad():
        return sum(batch_bits(model, text_WT[at : at + batch]).item() for at in range(0, len(text_WT), batch))


def batch_bits(model: "PreTrainedModel", text_BT: Text) -> "Tensor":
    """The bits of a batch of text, without the first byte of each window."""
    token_BT = torch.from_numpy(text_BT.astype(np.int64)).to(model.device)
    logits = model(input_ids=token_BT[:, :-1], use_cache=False).logits
    nats_E = functional.cross_entropy(logits.float().flatten(0, 1), token_BT[:, 1:].flatten(), reduction="none")
    # Summed in float64: what a round changes is a small part of the whole.
    return torch.sum(nats_E, dtype=torch.float64) / math.log(2.0)

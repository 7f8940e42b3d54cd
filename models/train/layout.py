"""A model's parameters as one vector: their order, their hash, and the way between the vector and the model.

Invariants: parameters stand in order of their names, each in row-major order, as float32; a vector fits the layout
that it was read with, and its hash covers names, shapes and every bit of the values.

Legend: P parameters of the whole model.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

PARAMETERS_DOMAIN = b"taoray/parameters/1"
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Names, ascending, and shapes of a model's parameters; tied ones stand once."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each tensor begins in the vector, and last where the vector ends."""
        return (0, *accumulate(math.prod(shape) for shape in self.shapes))

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self.starts[-1]

    @cached_property
    def hash(self) -> bytes:
        """BLAKE2b-256 of names and shapes."""
        return hashlib.blake2b(msgspec.msgpack.encode((self.names, self.shapes)), digest_size=32).digest()


def layout_of(model: "nn.Module") -> Layout:
    """The layout of a model's parameters."""
    found = sorted((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())
    return Layout(tuple(name for name, _ in found), tuple(shape for _, shape in found))


def read_vector(model: "nn.Module") -> Vector:
    """A model's parameters, float32 [P], a copy. Raises TrainingError where they are not float32."""
    import torch

    parameters = dict(model.named_parameters())
    if wrong := sorted(name for name, parameter in parameters.items() if parameter.dtype != torch.float32):
        raise TrainingError(f"{wrong[0]} is not float32: what is trained together is kept in float32")
    return np.concatenate([parameters[name].detach().cpu().numpy().ravel() for name in sorted(parameters)])


def write_vector(model: "nn.Module", vector_P: Vector) -> None:
    """Give a model the parameters in a vector of its layout, in place. Raises TrainingError where it does not fit."""
    import torch

    layout = layout_of(model)
    if vector_P.shape != (layout.size,) or vector_P.dtype != np.float32:
        raise TrainingError(f"expected {layout.size} float32 parameters, got {vector_P.dtype} {vector_P.shape}")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, start, end in zip(layout.names, layout.starts, layout.starts[1:], strict=False):
            found = torch.from_numpy(vector_P[start:end].copy()).view(parameters[name].shape)
            parameters[name].copy_(found)


def hash_vector(vector_P: Vector, layout: Layout) -> bytes:
    """What names parameters on the ledger, 32 bytes."""
    digest = hashlib.blake2b(PARAMETERS_DOMAIN + layout.hash, digest_size=32)
    digest.update(np.ascontiguousarray(vector_P).astype("<f4", copy=False).tobytes())
    return digest.digest()

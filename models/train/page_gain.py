"""Who trained on the pages that it was given: the gain of every update on everybody's pages.

A page that was trained on leaves a trace: its gradient agrees with the update more than the gradients of other pages
do. Everybody's pages are random pages to the others, so U contributors make a table of U rows (whose pages) and U
columns (whose update). How hard pages are is common to a row, how much an update moves is common to a column: what the
diagonal has above both is the trace.

Invariants: gradients stand in the middle of the path to the joint step; each coordinate counts by its gradient's own
spread, as AdamW has it; who sent nothing of its pages is told apart only where most others are.

Legend: P parameters, U updates by ascending uid, R rows: batches of pages, K pages of T bytes.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.train.layout import Vector, write_vector
from models.train.step import Step, apply_step
from models.train.update_value import Dots, Floats, Text, gradient

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

PAGES = 4
"""Pages of a gradient: several for each contributor, so that there is a standard error."""
FEWEST = 3
"""Contributors from which rows and columns can be told from the diagonal."""
CLEAR_Z = 3.0
"""Standard errors that most contributors' traces must have before anybody is refused."""
SMALLEST_SPREAD = 1e-3
"""Of the mean spread: what a coordinate without a gradient on the random pages counts by."""


@dataclass(frozen=True)
class PageGain:
    """An update on its pages.

    Attributes:
        assigned_bits: what it gains, to first order, on pages that its sender was to train on; bits per byte.
        random_bits: on other pages.
        z: how far the trace of its pages is above none, in standard errors; NaN with fewer than three contributors.
        limit: half of what most have; NaN where that is not clear.
    """

    assigned_bits: float
    random_bits: float
    z: float
    limit: float

    @property
    def failed(self) -> bool:
        """Whether its sender trained on something else."""
        return self.z < self.limit


def page_gains(
    model: "PreTrainedModel", theta_P: Vector, step: Step, pages: Mapping[int, Text], random_KT: Text
) -> dict[int, PageGain]:
    """The trace of its pages in every update of `step` from θ, by uid.

    Args:
        model: of the cohort's architecture; it is left in eval mode, with θ.
        pages: pages that each uid of the step was to train on, uint8 [K, T]; as many for each, at least four.
        random_KT: training pages that nobody was to train on: the spread of gradients is theirs.
    """
    uids = sorted(step.parts)
    parts = [step.parts[uid] for uid in uids]
    model.train(False)
    write_vector(model, theta_P + np.float32(0.5) * (apply_step(theta_P, step) - theta_P))
    dots = Dots(parts, model.device)
    random_bits_U, weight_P = spread(model, dots, random_KT)
    owner_R: list[int] = []
    bits_RU: list[Floats] = []
    trace_RU: list[Floats] = []
    for row, uid in enumerate(uids):
        for gradient_P in gradients(model, pages[uid]):
            owner_R.append(row)
            bits_RU.append(-dots.with_gradient(gradient_P))
            trace_RU.append(-dots.with_gradient(gradient_P * weight_P))
    write_vector(model, theta_P)
    z_U = trace(np.array(trace_RU), np.array(owner_R)) if len(uids) >= FEWEST else np.full(len(uids), math.nan)
    limit = clear_limit(z_U)
    found: dict[int, PageGain] = {}
    for row, uid in enumerate(uids):
        own = [bits_U[row] for bits_U, owner in zip(bits_RU, owner_R, strict=True) if owner == row]
        assigned = sum(own) / pages[uid][:, 1:].size
        found[uid] = PageGain(assigned, float(random_bits_U[row]), float(z_U[row]), limit)
    return found


def gradients(model: "PreTrainedModel", text_KT: Text) -> Iterator["Tensor"]:
    """The gradient of the bits of every few pages, float32 [P]."""
    return (gradient(model, text_KT[at : at + PAGES]) for at in range(0, len(text_KT), PAGES))


def spread(model: "PreTrainedModel", dots: Dots, random_KT: Text) -> tuple[Floats, "Tensor"]:
    """Each update's gain on random pages, bits per byte; and one over the root mean square of each coordinate."""
    bits_U, square_P = np.zeros(len(dots)), None
    for gradient_P in gradients(model, random_KT):
        bits_U -= dots.with_gradient(gradient_P)
        square_P = gradient_P**2 if square_P is None else square_P + gradient_P**2
    if square_P is None:
        raise ValueError("there are no random pages")
    root_P = square_P.sqrt()
    return bits_U / random_KT[:, 1:].size, 1.0 / (root_P + SMALLEST_SPREAD * root_P.mean())


def trace(gain_RU: Floats, owner_R: NDArray[np.integer]) -> Floats:
    """How far each update's gain on its own pages is above what rows and columns foretell, in standard errors.

    Rows and columns are fitted without the diagonal, as in a diallel cross without selfs (Griffing 1956, method 3),
    so that one update's trace is not part of what others are compared with.

    Args:
        gain_RU: gain of each update on each batch of pages; as many batches for each owner.
        owner_R: the column of whose pages each batch is.
    """
    count = gain_RU.shape[1]
    batches = len(owner_R) // count
    others_RU = owner_R[:, None] != np.arange(count)
    scaled_RU = gain_RU / spread_of_columns(gain_RU, others_RU)
    table_UU = scaled_RU.reshape(count, batches, count).mean(axis=1)
    off_UU = np.where(np.eye(count, dtype=bool), 0.0, table_UU)
    row_U, column_U, total = off_UU.sum(axis=1), off_UU.sum(axis=0), off_UU.sum()
    effect_U = ((count - 1) * column_U + row_U - total) / (count * (count - 2))
    excess_U = np.diag(table_UU) - (row_U + column_U - total / (count - 1)) / (count - 2)
    rest_RU = np.where(others_RU, scaled_RU - effect_U, 0.0)
    rest_RU = np.where(others_RU, rest_RU - rest_RU.sum(axis=1, keepdims=True) / (count - 1), 0.0)
    freedom = len(owner_R) * (count - 2) - (count - 1)
    variance = (rest_RU**2).sum() / freedom / batches
    foretold = 1.0 + 2.0 / (count - 1) + 1.0 / ((count - 1) * (count - 2))
    z_U: Floats = excess_U / np.sqrt(variance * foretold)
    return z_U


def spread_of_columns(gain_RU: Floats, others_RU: NDArray[np.bool_]) -> Floats:
    """Standard deviation of each column over others' pages: so one restless update does not drown the others."""
    mean_U = np.mean(gain_RU, axis=0, where=others_RU)
    deviation_U: Floats = np.sqrt(np.mean((gain_RU - mean_U) ** 2, axis=0, where=others_RU))
    return np.where(deviation_U > 0, deviation_U, 1.0)


def clear_limit(z_U: Floats) -> float:
    """Half of the traces' lower median; NaN where that is not clear."""
    usual = median_low(z_U.tolist()) if len(z_U) else math.nan
    return usual / 2 if usual >= CLEAR_Z else math.nan

"""Who trained on the pages that it was given: the gain of every update on everybody's pages.

A page that was trained on leaves a trace: the update gains more on it than on pages that were not. Everybody's pages
are random pages to the others, so U contributors make a table of U rows (whose pages) and U columns (whose update).
How hard pages are is common to a row, how much an update moves is common to a column: what the diagonal has above both
is the trace. Compared so, and not page by page, a few pages of each are enough.

Invariants: gains are of first order in the middle of the path to the joint step; an update is compared with what most
others show, and nobody is refused while that is not clear, or by fewer than three.

Legend: P parameters, U updates by ascending uid, R rows: batches of pages, K pages of T bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.train.layout import Vector, write_vector
from models.train.step import Step, apply_step
from models.train.update_value import Dots, Floats, Text, gradient

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PAGES = 4
"""Pages of a gradient: several gradients for each contributor, so that there is a standard error."""
FEWEST = 3
"""Contributors from which rows and columns can be told from the diagonal."""
CLEAR_Z = 4.0
"""Standard errors that the median trace must have before anybody is refused."""
LIMIT = 1 / 3
"""Of the median trace: below it there is none. Traces of honest members differ by a quarter or so, and their errors."""
OPPOSITE = -1.5
"""Limits: half of the median trace, the other way round, is that of a flipped update."""


@dataclass(frozen=True)
class PageGain:
    """An update on its pages.

    Attributes:
        assigned_bits: what it gains, to first order, on pages that its sender was to train on; bits per byte.
        random_bits: on pages that nobody was to train on.
        z: how far the trace of its pages is above none, in standard errors; NaN with fewer than three contributors.
        limit: below it there is no trace; NaN where the others' is not clear.
    """

    assigned_bits: float
    random_bits: float
    z: float
    limit: float

    @property
    def failed(self) -> bool:
        """Whether its sender trained on something else. An opposite trace is one: what it is worth says the rest."""
        return OPPOSITE * self.limit < self.z < self.limit


def page_gains(
    model: "PreTrainedModel", theta_P: Vector, step: Step, pages: Mapping[int, Text], random_KT: Text
) -> dict[int, PageGain]:
    """The trace of its pages in every update of `step` from θ, by uid.

    Args:
        model: of the cohort's architecture; it is left in eval mode, with θ.
        pages: pages that each uid of the step was to train on, uint8 [K, T]; best as many for each, a multiple of four.
        random_KT: training pages that nobody was to train on.
    """
    uids = sorted(step.parts)
    model.train(False)
    write_vector(model, theta_P + np.float32(0.5) * (apply_step(theta_P, step) - theta_P))
    dots = Dots([step.parts[uid] for uid in uids], model.device)
    owners, gains = [], []
    for owner, page_KT in [*enumerate(pages[uid] for uid in uids), (len(uids), random_KT)]:
        for at in range(0, len(page_KT), PAGES):
            text_KT = page_KT[at : at + PAGES]
            owners.append(owner)
            gains.append(-dots.with_gradient(gradient(model, text_KT)) / text_KT[:, 1:].size)
    write_vector(model, theta_P)
    owner_R, gain_RU = np.array(owners), np.array(gains)
    z_U = trace(gain_RU, owner_R)
    limit = clear_limit(z_U)
    return {
        uid: PageGain(
            float(gain_RU[owner_R == row, row].mean()),
            float(gain_RU[owner_R == len(uids), row].mean()),
            float(z_U[row]),
            limit,
        )
        for row, uid in enumerate(uids)
    }


def trace(gain_RU: Floats, owner_R: NDArray[np.integer]) -> Floats:
    """How far each update's gain on its own pages is above what rows and columns foretell, in standard errors.

    Effects of rows and columns are fitted by least squares without anybody's gain on its own pages, so that one
    update's trace is not part of what others are compared with. NaN with fewer than three updates.

    Args:
        gain_RU: gain of each update on each batch of pages.
        owner_R: the column of whose pages each batch is; U for random pages.
    """
    count = gain_RU.shape[1]
    if count < FEWEST:
        return np.full(count, math.nan)
    others_RU = owner_R[:, None] != np.arange(count)
    scaled_RU = gain_RU / spread_of_columns(gain_RU, others_RU)
    many_R = others_RU.sum(axis=1)
    # Row effects are taken out first: each row's own mean, over the columns that it is fitted on.
    centred_RU = np.where(others_RU, scaled_RU - np.mean(scaled_RU, 1, where=others_RU, keepdims=True), 0.0)
    normal_UU = np.diag(others_RU.sum(axis=0)) - (others_RU.T / many_R) @ others_RU
    inverse_UU = np.linalg.pinv(normal_UU, hermitian=True)
    column_U = inverse_UU @ centred_RU.sum(axis=0)
    rest_RU = scaled_RU - column_U
    rest_RU -= np.mean(rest_RU, 1, where=others_RU, keepdims=True)
    variance = (rest_RU**2).sum(where=others_RU) / (others_RU.sum() - len(owner_R) - count + 1)
    z_U = np.zeros(count)
    for own in range(count):
        excess_R = rest_RU[owner_R == own, own]
        contrast_U = np.where(np.arange(count) == own, 1.0, -1.0 / (count - 1))
        spread = count / (count - 1) / len(excess_R) + contrast_U @ inverse_UU @ contrast_U
        z_U[own] = excess_R.mean() / math.sqrt(variance * spread) if variance > 0 else 0.0
    return z_U


def spread_of_columns(gain_RU: Floats, others_RU: NDArray[np.bool_]) -> Floats:
    """Standard deviation of each column over others' pages: so one restless update does not drown the others."""
    mean_U = np.mean(gain_RU, axis=0, where=others_RU)
    deviation_U: Floats = np.sqrt(np.mean((gain_RU - mean_U) ** 2, axis=0, where=others_RU))
    return np.where(deviation_U > 0, deviation_U, 1.0)


def clear_limit(z_U: Floats) -> float:
    """What a trace must have at least; NaN where the (lower) median one is not clear."""
    usual = median_low(z_U.tolist()) if len(z_U) else math.nan
    return usual * LIMIT if usual >= CLEAR_Z else math.nan

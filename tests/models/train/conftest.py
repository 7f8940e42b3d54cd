"""Every test of the folder runs on one thread, where training is deterministic; a small cohort that has begun."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from transformers import PreTrainedModel

from models.host.architectures import Architecture, build_model
from models.train.cohort import OuterSettings
from models.train.compression import compress
from models.train.layout import Layout, Vector, layout_of, read_vector, write_vector
from models.train.local import train_steps
from models.train.settings import TrainSettings

PAGE_BYTES = 33
SETTINGS = TrainSettings(steps=8, batch=4, page_bytes=PAGE_BYTES)


class SmallCohort(NamedTuple):
    """A model that has learned a little.

    Attributes:
        draw: text by seed and number of pages; of a source in which each byte depends on the one before.
        payload: what a member sends that trains on some pages.
    """

    model: PreTrainedModel
    layout: Layout
    theta_P: Vector
    outer: OuterSettings
    draw: Callable[[int, int], np.ndarray]
    payload: Callable[[np.ndarray], bytes]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """As the name says."""


@pytest.fixture(scope="session")
def cohort() -> SmallCohort:
    """One for all tests: who changes the model puts its θ in first."""
    model = build_model(Architecture("llama", 32, 1, 2, context=64), 0)
    train_steps(model, None, draw_text(0, 240), TrainSettings(steps=30, batch=8), steps_done=0)
    theta_P, layout, outer = read_vector(model), layout_of(model), OuterSettings(rate=0.7, keep=256)

    def payload(page_PT: np.ndarray) -> bytes:
        write_vector(model, theta_P)
        train_steps(model, None, page_PT, SETTINGS, steps_done=30)
        return compress(theta_P - read_vector(model), layout, outer)

    return SmallCohort(model, layout, theta_P, outer, draw_text, payload)


def draw_text(seed: int, pages: int) -> np.ndarray:
    """Each byte is followed by one of four others."""
    random = np.random.default_rng(seed)
    next_SB = np.random.default_rng(12345).integers(0, 256, (256, 4))
    page_PT = np.empty((pages, PAGE_BYTES), np.uint8)
    page_PT[:, 0] = random.integers(0, 256, pages)
    for place in range(1, PAGE_BYTES):
        page_PT[:, place] = next_SB[page_PT[:, place - 1], random.integers(0, 4, pages)]
    return page_PT

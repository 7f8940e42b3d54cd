"""A small model and text for tests that host and train; torch is imported by those alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def llama(one_thread: None) -> "PreTrainedModel":
    from models.host.architectures import Architecture, build_model

    return build_model(Architecture("llama", 16, 1, 2, context=64), 7)


@pytest.fixture(scope="session")
def text_BT() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 24)).astype(np.uint8)

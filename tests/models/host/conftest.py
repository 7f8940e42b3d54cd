import numpy as np
import pytest
import torch

from models.host.architectures import Architecture, build_model

LLAMA = Architecture("llama", 16, 1, 2, context=64)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def llama():
    return build_model(LLAMA, 7)


@pytest.fixture(scope="session")
def text_BT():
    return np.random.default_rng(0).integers(0, 256, (5, 24)).astype(np.uint8)

"""What a GPU computes, against what a CPU computes. Needs torch, transformers, msgspec and pytest alone.

Where the other packages are absent, from the repository's root:

    PYTHONPATH=. python -m pytest -c /dev/null --rootdir . --confcutdir tests/gpu --import-mode importlib tests/gpu
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: compares an NVIDIA GPU with the CPU; skipped where there is none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")


@pytest.fixture(autouse=True, scope="session")
def device() -> str:
    """The GPU. Comes before all other fixtures, so that none is made where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    return "cuda"

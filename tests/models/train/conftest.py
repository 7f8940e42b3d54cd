"""Every test of the folder runs on one thread, where training is deterministic."""

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """As the name says."""

"""Shared by all rooms: where the small network's configuration is, and one thread for torch."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_toml() -> Path:
    """The smallest network that does everything."""
    return Path(__file__).parent / "cluster" / "tiny.toml"

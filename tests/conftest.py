"""Shared by all rooms: where the small network's configuration is, one thread for torch, no limit on a test's time."""

import os
import sysconfig
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test asserts on time, so none fails on a busy machine; half of hypothesis' usual examples, to stay quick.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def small_text() -> str:
    """An override that takes some packages of the standard library for text: a second to prepare, not ten."""
    library = Path(sysconfig.get_path("stdlib"))
    return f"data.paths={[str(library / name) for name in ('asyncio', 'email', 'encodings', 'idlelib', 'unittest')]}"


@pytest.fixture(scope="session")
def tiny_toml() -> Path:
    """The smallest network that does everything."""
    return Path(__file__).parent / "cluster" / "tiny.toml"

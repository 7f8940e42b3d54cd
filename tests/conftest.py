"""Shared by all rooms: where the small network's configuration is, one thread for torch, no limit on a test's time."""

import ctypes
import gc
import os
import resource
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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


@contextmanager
def _little_memory(more_mib: int) -> Iterator[None]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + (more_mib << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def little_memory() -> Callable[[int], AbstractContextManager[None]]:
    """Lets this process have at most so many MiB more than it has, of which what was freed is given back."""
    return _little_memory

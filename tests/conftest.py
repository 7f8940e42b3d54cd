"""Shared by all rooms: where the small network's configuration is, one thread for torch, no limit on a test's time."""

import ctypes
import gc
import os
import resource
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from models.host.allocator import M_MMAP_THRESHOLD, MAPPED_BYTES

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray gives its workers a nice value of 15, so beside tests that compute they would hardly get on.
os.environ.setdefault("RAY_worker_niceness", "0")
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


FILLED_BYTES = 1 << 16
"""Free pieces of the heap that are smaller than this are left as they are."""
M_ARENA_MAX = -8
"""glibc's malloc.h. Else each thread that loads a model takes 64 MiB of addresses for a heap of its own."""
STACK_BYTES = 1 << 20
"""Of such a thread, in place of 8 MiB."""
APART_BYTES = 1 << 20
"""Pieces from this size on are mapped one by one and given back when they are freed, so none is in another's way."""


@contextmanager
def _heap_filled() -> Iterator[None]:
    """No piece of memory that this process freed and still holds is left, however much ran before."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    pieces: list[int] = []
    size_bytes = 1 << 30
    while size_bytes >= FILLED_BYTES:
        piece = libc.malloc(size_bytes)
        if piece:
            pieces.append(piece)
        else:
            size_bytes //= 2
    libc.mallopt(M_MMAP_THRESHOLD, APART_BYTES)
    libc.mallopt(M_ARENA_MAX, 1)
    stack_bytes = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(stack_bytes)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        for piece in pieces:
            libc.free(piece)


@contextmanager
def _address_space(most_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _little_memory(more_mib: int) -> Iterator[None]:
    gc.collect()
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with _address_space(used_bytes), _heap_filled(), _address_space(used_bytes + (more_mib << 20)):
        yield


@pytest.fixture
def little_memory() -> Callable[[int], AbstractContextManager[None]]:
    """Lets this process have at most so many MiB more than it uses: what it freed and kept is not to be had."""
    return _little_memory

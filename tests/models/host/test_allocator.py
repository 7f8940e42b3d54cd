"""What a process frees stays with it: its pages are not faulted in again."""

import subprocess
import sys
from pathlib import Path

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from models.host.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    for _ in range(8):
        held = [torch.zeros(1 << 20) for _ in range(8)]  # 4 MiB each
        del held
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        (sys.executable, "-c", COUNT_FAULTS, how), cwd=Path(__file__).parents[3], capture_output=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    pages = 8 * 8 * (4 << 20) // 4096
    assert faults("kept") < pages // 100

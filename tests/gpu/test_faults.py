"""A GPU's memory that runs out, a share of it, and a GPU that fails under a process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from models.bench.presets import build_preset
from models.host.device import free_bytes
from models.host.folders import save_model
from models.host.hosted import load_hosted
from models.host.score import score_windows

SHARED = """
import torch
from models.errors import DeviceLost
from models.host.device import Watched, free_bytes

watched = Watched("auto", 0.25)
watched.check()
total_bytes = torch.cuda.mem_get_info()[1]
assert free_bytes(torch.device("cuda", 0)) <= total_bytes // 4
try:
    torch.empty(int(total_bytes * 0.3), dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print("shared")
for _ in range(2):
    try:
        with watched.watching():
            torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")].cpu()
    except DeviceLost as lost:
        print(lost)
"""


def test_a_full_memory_is_met_by_smaller_batches(tmp_path: Path, device: str) -> None:
    save_model(build_preset("byte-10m", torch.device("cpu"), torch.float32), tmp_path / "model")
    hosted = load_hosted(tmp_path / "model", device)
    texts = [bytes(row) for row in np.random.default_rng(0).integers(0, 256, (256, 1024)).astype(np.uint8)]
    expected = score_windows(hosted, texts, batch_tokens=8192).log_probability_C
    torch.cuda.empty_cache()
    room = free_bytes(hosted.model.device) - (256 << 20)
    filler = torch.empty(max(0, room), dtype=torch.uint8, device=device)
    found = score_windows(hosted, texts, batch_tokens=1 << 18).log_probability_C
    assert hosted.batch_tokens is not None
    assert hosted.batch_tokens < 1 << 18
    assert hosted.note == f"batches of at most {hosted.batch_tokens:,} tokens: the GPU's memory is full"
    del filler
    assert abs(float(found.mean()) - float(expected.mean())) < 1e-3


def test_a_process_has_its_share_and_a_failed_gpu_is_told_by_every_call() -> None:
    """In a process of its own, whose context is then of no more use."""
    child = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, timeout=200, check=True)
    shared, *lost = child.stdout.splitlines()
    assert shared == "shared"
    assert len(lost) == 2
    assert lost[0] == lost[1]
    assert lost[0].startswith("the GPU failed (CUDA error: device-side assert triggered")

"""Scores of a GPU, in 16 bits and in 32, alone and together, against those of the CPU in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.bench.presets import build_preset
from models.host.folders import save_model
from models.host.hosted import Hosted, load_hosted
from models.host.score import score_windows
from models.text.align import Scores

PRESETS = ("byte-1m", "moe-byte-2m")
TEXTS = [bytes(np.random.default_rng(row).integers(32, 127, 300 + 40 * row).astype(np.uint8)) for row in range(16)]


@pytest.fixture(scope="module", params=PRESETS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models") / request.param
    save_model(build_preset(request.param, torch.device("cpu"), torch.float32), where)
    return where


@pytest.fixture
def alone(folder: Path) -> Hosted:
    return load_hosted(folder)


def bits_per_byte(scores: Scores) -> float:
    return -float(scores.log_probability_C.sum(dtype=np.float64)) / np.log(2.0) / sum(map(len, TEXTS))


def test_16_bits_say_what_32_bits_on_a_cpu_say(folder: Path, alone: Hosted, device: str) -> None:
    found, expected = score_windows(load_hosted(folder, device), TEXTS), score_windows(alone, TEXTS)
    assert abs(bits_per_byte(found) - bits_per_byte(expected)) < 2e-3


def test_32_bits_say_what_a_cpu_says_of_every_byte(folder: Path, alone: Hosted, device: str) -> None:
    found = score_windows(load_hosted(folder, device, torch.float32), TEXTS)
    np.testing.assert_allclose(found.log_probability_C, score_windows(alone, TEXTS).log_probability_C, atol=2e-3)

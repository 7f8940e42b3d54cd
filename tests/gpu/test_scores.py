"""Scores of a GPU, in 16 bits and in 32, alone and together, against those of the CPU in float32."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.bench.presets import PRESETS, build_preset
from models.host.adapters import base_folder
from models.host.folders import save_model
from models.host.hosted import Hosted, adapt, load_hosted
from models.host.next_byte import next_byte
from models.host.score import score_together, score_windows
from models.host.stacked import stack
from models.text.align import Scores

TEXTS = [bytes(np.random.default_rng(row).integers(32, 127, 300 + 40 * row).astype(np.uint8)) for row in range(16)]
MEMBERS = 4
RANK = 4


@pytest.fixture(scope="module", params=["byte-1m", "moe-byte-2m"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("models") / request.param
    save_model(build_preset(request.param, torch.device("cpu"), torch.float32), where)
    return where


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models of one shape."""
    root = tmp_path_factory.mktemp("members")
    for seed in range(MEMBERS):
        save_model(build_preset("byte-1m", torch.device("cpu"), torch.float32, seed), root / str(seed))
    return [root / str(seed) for seed in range(MEMBERS)]


@pytest.fixture(scope="module")
def adapters(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Adapters over the first of them."""
    root, width = tmp_path_factory.mktemp("adapters"), PRESETS["byte-1m"].fields["hidden_size"]
    layers = [f"base_model.model.model.layers.{layer}.self_attn.{part}_proj" for layer in (0, 3) for part in "qv"]
    for seed in range(MEMBERS):
        generator, folder = torch.Generator().manual_seed(seed), root / str(seed)
        folder.mkdir()
        config = {
            "peft_type": "LORA",
            "r": RANK,
            "lora_alpha": 2 * RANK,
            "base_model_name_or_path": str(folders[0]),
        }
        (folder / "adapter_config.json").write_text(json.dumps(config))
        shapes = {"A": (RANK, width), "B": (width, RANK)}
        tensors = {
            f"{layer}.lora_{side}.weight": 0.2 * torch.randn(shape, generator=generator)
            for layer in layers
            for side, shape in shapes.items()
        }
        save_file(tensors, folder / "adapter_model.safetensors")
    return [root / str(seed) for seed in range(MEMBERS)]


def bits_per_byte(scores: Scores) -> float:
    return -float(scores.log_probability_C.sum(dtype=np.float64)) / np.log(2.0) / sum(map(len, TEXTS))


def load_adapters(folders: list[Path], device: str, dtype: torch.dtype) -> list[Hosted]:
    """Adapters over one base that is in memory once."""
    base = load_hosted(base_folder(folders[0]), device, dtype)
    return [adapt(base, folder) for folder in folders]


def test_16_bits_say_what_32_bits_on_a_cpu_say(folder: Path, device: str) -> None:
    found, expected = score_windows(load_hosted(folder, device), TEXTS), score_windows(load_hosted(folder), TEXTS)
    assert abs(bits_per_byte(found) - bits_per_byte(expected)) < 2e-3


def test_32_bits_say_what_a_cpu_says_of_every_byte(folder: Path, device: str) -> None:
    found, expected = load_hosted(folder, device, torch.float32), load_hosted(folder)
    scores = [score_windows(hosted, TEXTS).log_probability_C for hosted in (found, expected)]
    np.testing.assert_allclose(*scores, atol=2e-3)
    np.testing.assert_allclose(next_byte(found, TEXTS), next_byte(expected, TEXTS), atol=2e-3)


def test_a_batch_of_any_size_says_the_same(folder: Path, device: str) -> None:
    hosted = load_hosted(folder, device)
    alone, together = (bits_per_byte(score_windows(hosted, TEXTS, batch_tokens=tokens)) for tokens in (1, 1 << 15))
    assert abs(alone - together) < 2e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["models", "adapters"])
def test_a_stack_says_what_its_models_say_alone(
    folders: list[Path], adapters: list[Path], kind: str, dtype: torch.dtype, device: str
) -> None:
    if kind == "adapters":
        members = load_adapters(adapters, device, dtype)
    else:
        members = [load_hosted(folder, device, dtype) for folder in folders]
    alone = [score_windows(member, TEXTS) for member in members]
    together = score_together(stack(members), TEXTS)
    for own, shared in zip(alone, together, strict=True):
        assert abs(bits_per_byte(own) - bits_per_byte(shared)) < 2e-3
        if dtype == torch.float32:
            np.testing.assert_allclose(shared.log_probability_C, own.log_probability_C, atol=2e-3)
    sums = [bits_per_byte(scores) for scores in together]
    assert len({round(each, 3) for each in sums}) == MEMBERS, "each speaks for itself"

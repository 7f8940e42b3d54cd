"""Two processes on the CPU; the code path is that of several GPUs, but for the backend of their exchange."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest
import torch

from models.errors import TrainingError
from models.host.architectures import Architecture, build_model
from models.host.folders import load_model, save_model
from models.train.distil import keep_likeliest
from models.train.local import train_folder
from models.train.optimizer import load_optimizer
from models.train.passes import MemoryShort
from models.train.settings import TrainSettings
from models.train.sharded import EXHAUSTED, check_ended, train_sharded

SETTINGS = TrainSettings(steps=3, batch=4, page_bytes=24, warmup_steps=2, distil_weight=0.5)


@pytest.fixture(scope="module")
def pages_PT():
    return np.random.default_rng(0).integers(0, 256, (12, 24)).astype(np.uint8)


@pytest.fixture
def begun(tmp_path, pages_PT):
    """A model of odd sizes whose matrices are tied, after three steps, and its state."""
    save_model(build_model(Architecture("llama", 66, 2, 3, context=64, tied=True), 1), tmp_path / "first")
    train_folder(tmp_path / "first", tmp_path / "model", None, tmp_path / "state", pages_PT, SETTINGS, device="cpu")
    return tmp_path


def test_two_processes_make_what_one_makes_and_hold_half_each(begun, pages_PT):
    q = np.random.default_rng(1).dirichlet(np.full(256, 0.05), (6, 23)).astype(np.float32)
    teaching = keep_likeliest(pages_PT[::-2].copy(), q, top=8, floor=0.0)
    files = (begun / "model", begun / "state")
    alone = train_folder(
        files[0], begun / "alone", files[1], begun / "s1", pages_PT, SETTINGS, device="cpu", teaching=teaching
    )
    spread = msgspec.structs.replace(SETTINGS, processes=2, gradient_checkpointing=True)
    result = train_sharded(
        files[0], begun / "spread", files[1], begun / "s2", pages_PT, spread, device="cpu", teaching=teaching
    )
    assert result.loss_bits_per_byte == pytest.approx(alone.loss_bits_per_byte, rel=1e-6)
    assert result.steps_done == alone.steps_done == 6
    whole, parts = load_model(begun / "alone"), load_model(begun / "spread")
    before = dict(load_model(files[0]).named_parameters())
    for name, parameter in parts.named_parameters():
        change = (dict(whole.named_parameters())[name] - before[name]).norm()
        assert (parameter - dict(whole.named_parameters())[name]).norm() < 1e-3 * change
    states = [load_optimizer(begun / name)[0] for name in ("s1", "s2")]
    assert all(torch.allclose(states[0][key], states[1][key], atol=1e-6) for key in states[0])
    held = 3 * sum(parameter.nbytes for parameter in parts.parameters())
    assert max(result.held_bytes) < 0.51 * held


@pytest.mark.thorough
def test_what_fails_in_a_process_is_told_and_the_others_end(begun, pages_PT):
    (begun / "damaged").write_bytes(b"not safetensors")
    spread = msgspec.structs.replace(SETTINGS, processes=2)
    with pytest.raises(TrainingError, match=r"process 0 of 2.*not an optimizer's state"):
        train_sharded(
            begun / "model", begun / "spread", begun / "damaged", begun / "s2", pages_PT, spread, device="cpu"
        )
    assert not (begun / "spread").exists()


def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, pages_PT):
    odd = msgspec.structs.replace(SETTINGS, processes=3)
    with pytest.raises(TrainingError, match="does not divide"):
        train_sharded(tmp_path, tmp_path, None, tmp_path, pages_PT, odd, device="cpu")
    many = msgspec.structs.replace(SETTINGS, processes=64, batch=64)
    with pytest.raises(TrainingError, match=r"placement\.gpus_per_host"):
        train_sharded(tmp_path, tmp_path, None, tmp_path, pages_PT, many, device="cuda")


def test_who_ran_out_of_memory_is_the_reason_and_not_those_who_waited_for_it(tmp_path):
    codes = (1, EXHAUSTED)
    ended = [subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]) for code in codes]
    for rank, process in enumerate(ended):
        process.wait()
        (tmp_path / f"error-{rank}").write_text(f"said by {rank}\n")
    with pytest.raises(MemoryShort, match="said by 1"):
        check_ended(ended, tmp_path)
    with pytest.raises(TrainingError, match="process 0 of 1: said by 0"):
        check_ended(ended[:1], tmp_path)

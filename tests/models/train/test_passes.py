"""A step in several passes: the same gradients, and what happens where memory ends, by limits that are real."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from models.host.architectures import Architecture, build_model
from models.host.device import send
from models.train import chunked_loss
from models.train.distil import keep_likeliest
from models.train.local import lesson_of
from models.train.passes import Fit, Passes, learning
from models.train.settings import TrainSettings

ROOT = Path(__file__).parents[3]
SETTINGS = TrainSettings(steps=2, batch=5, page_bytes=24, distil_weight=0.7)


def pages(rows: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (rows, 24)).astype(np.uint8)


def gradients(fit: Fit, taught: bool) -> tuple[float, list[torch.Tensor]]:
    model = build_model(Architecture("llama", 32, 2, 2, context=64), 1)
    lesson = None
    if taught:
        expected = np.random.default_rng(1).dirichlet(np.full(256, 0.05), (5, 23)).astype(np.float32)
        lesson = lesson_of(keep_likeliest(pages(5), expected, top=8, floor=0.0), np.arange(5), model.device)
    settings = msgspec.structs.replace(SETTINGS, gradient_checkpointing=fit.again)
    with learning(model, settings) as passes:
        passes.fit = fit
        loss = passes.gradients(send(pages(5).astype(np.int64), model.device), lesson)
    return float(loss), [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("fit", [Fit(3, False), Fit(2, False), Fit(1, True)])
def test_gradients_do_not_depend_on_how_many_pages_a_pass_reads(fit: Fit, taught: bool) -> None:
    (loss, whole), (other, parts) = gradients(Fit(5, False), taught), gradients(fit, taught)
    assert other == pytest.approx(loss, rel=1e-6)
    for one, two in zip(whole, parts, strict=True):
        assert (one - two).norm() <= 1e-5 * one.norm()


def test_a_pass_gets_smaller_down_to_a_page_and_then_computes_twice() -> None:
    seen, fit = [], Fit(6, False)
    while (smaller := fit.smaller()) is not None:
        fit = smaller
        seen.append((fit.rows, fit.again))
    assert seen == [(3, False), (2, False), (1, False), (1, True)]
    assert Fit(1, True).told(8, torch.device("cpu")) == (
        "steps of 8 pages are read one page at a time, their activations computed twice: this machine's memory is full"
    )


LIMITED = """
import resource
import numpy as np, torch
from models.errors import TrainingError
from models.host.architectures import Architecture, build_model
from models.train.local import train_steps
from models.train.settings import TrainSettings

def train(batch, page_bytes):
    pages_PT = np.random.default_rng(3).integers(0, 256, (batch, page_bytes)).astype(np.uint8)
    settings = TrainSettings(steps=1, batch=batch, page_bytes=page_bytes)
    model = build_model(Architecture("llama", 64, 2, 2, context=4096), 1)
    return train_steps(model, None, pages_PT, settings, steps_done=0)

torch.set_num_threads(1)
# What the libraries take for themselves is taken before the limit.
train(1, 64)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (40 << 20), resource.RLIM_INFINITY))
limited = train(16, 256)
try:
    train(2, 1 << 15)
except TrainingError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
free = train(16, 256)
print(limited.messages[0])
print(free.messages, abs(limited.loss_bits_per_byte - free.loss_bits_per_byte) < 1e-5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process may allocate so")
def test_memory_that_ends_makes_passes_smaller_and_a_page_too_large_is_one_clear_error() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    refused, told, same = done.stdout.splitlines()
    assert refused.startswith("this machine's memory does not hold a step of one page of 32768 bytes")
    assert "training.page_bytes" in refused
    assert told.startswith("steps of 16 pages are read ")
    assert told.endswith("this machine's memory is full")
    assert same == "() True"


def test_an_error_that_is_no_lack_of_memory_is_not_met_by_smaller_passes() -> None:
    model = build_model(Architecture("llama", 32, 1, 2, context=64), 1)
    passes = Passes(model, SETTINGS, torch.float32, alone=True)
    with pytest.raises(IndexError):
        passes.gradients(torch.full((5, 24), 999), None)
    assert passes.messages == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_a_large_vocabularys_loss_in_chunks_has_the_gradients_of_all_logits_at_once(
    dtype: torch.dtype, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chunked_loss.CHUNK_LOGITS, "cpu", 7 * 5000)
    config = LlamaConfig(
        vocab_size=5000, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    text_BT = torch.randint(5000, (5, 24))
    whole = functional.cross_entropy(model(input_ids=text_BT[:, :-1]).logits.flatten(0, 1), text_BT[:, 1:].flatten())
    expected = torch.autograd.grad(whole, list(model.parameters()))
    with learning(model, SETTINGS, dtype) as passes:
        passes.fit = Fit(3, False)
        loss = passes.gradients(text_BT, None)
    allowed = 1e-5 if dtype == torch.float32 else 3e-2
    assert float(loss) == pytest.approx(float(whole.detach()), rel=allowed)
    for parameter, slope in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert (parameter.grad - slope).norm() <= allowed * slope.norm()

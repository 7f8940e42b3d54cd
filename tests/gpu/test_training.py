"""Training and compression on a GPU, against the CPU's."""

import warnings

import numpy as np
import pytest
import torch

from models.bench.presets import build_preset
from models.host.device import send
from models.train import chunked_loss
from models.train.cohort import OuterSettings
from models.train.compression import compress
from models.train.layout import Layout, layout_of, read_vector
from models.train.local import make_optimizer, take_step, train_steps
from models.train.passes import learning
from models.train.settings import TrainSettings

SETTINGS = TrainSettings(steps=1, batch=6, page_bytes=65)
ROOM_BYTES = 2 << 30
"""What a step may allocate that needs several times as much at once."""


def pages(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (rows, length)).astype(np.uint8)


def gradients(device: str, dtype: torch.dtype) -> tuple[float, torch.Tensor]:
    model = build_preset("byte-1m", torch.device("cpu"), torch.float32).to(torch.device(device))
    with learning(model, SETTINGS, dtype) as passes:
        loss = passes.gradients(send(pages(6, 65).astype(np.int64), model.device), None)
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return float(loss), torch.cat(found).cpu()


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-3), (torch.bfloat16, 5e-2)])
def test_gradients_are_those_of_the_cpu_in_float32(dtype: torch.dtype, allowed: float, device: str) -> None:
    (loss, expected), (other, found) = gradients("cpu", torch.float32), gradients(device, dtype)
    assert other == pytest.approx(loss, rel=allowed / 10)
    assert (found - expected).norm() <= allowed * expected.norm()


def test_a_large_vocabularys_loss_in_chunks_is_that_of_all_logits_on_a_cpu(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chunked_loss.CHUNK_LOGITS, "cuda", 100 * 32000)
    model = build_preset("llama-0.1b", torch.device("cpu"), torch.float32)
    text_BT = torch.randint(32000, (2, 129), generator=torch.Generator().manual_seed(0))
    logits = model(input_ids=text_BT[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text_BT[:, 1:].flatten())
    slope_VH = torch.autograd.grad(expected, model.get_output_embeddings().weight)[0]
    model.to(torch.device(device))
    with learning(model, SETTINGS, torch.bfloat16) as passes:
        loss = passes.gradients(text_BT.to(device), None)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=5e-3)
    found_VH = model.get_output_embeddings().weight.grad.cpu()
    assert (found_VH - slope_VH).norm() <= 5e-2 * slope_VH.norm()


@pytest.mark.parametrize("keep", [1, 64, 1000])
@pytest.mark.parametrize("kinds", [0, 3])
def test_an_update_has_the_same_bytes_as_on_a_cpu(keep: int, kinds: int, device: str) -> None:
    layout = Layout(("a", "b", "c", "d"), ((2048, 2048), (2048,), (), (300, 4099)))
    drawn = np.random.default_rng(keep).standard_t(3, layout.size)
    vector_P = (np.round(drawn * kinds) / kinds if kinds else drawn).astype(np.float32)
    outer = OuterSettings(keep=keep)
    assert compress(vector_P, layout, outer, device) == compress(vector_P, layout, outer)


def test_a_trained_update_has_the_same_bytes_as_on_a_cpu(device: str) -> None:
    model = build_preset("byte-1m", torch.device(device), torch.float32)
    before_P, layout = read_vector(model), layout_of(model)
    train_steps(model, None, pages(6, 65), SETTINGS, steps_done=0)
    update_P = before_P - read_vector(model)
    assert compress(update_P, layout, OuterSettings(), device) == compress(update_P, layout, OuterSettings())


def test_a_step_that_the_gpu_does_not_hold_is_taken_in_smaller_passes(device: str) -> None:
    model = build_preset("byte-1m", torch.device(device), torch.float32)
    settings = TrainSettings(steps=1, batch=512, page_bytes=513)
    text_BT = send(pages(512, 513).astype(np.int64), model.device)
    torch.cuda.set_per_process_memory_fraction(ROOM_BYTES / torch.cuda.get_device_properties(0).total_memory)
    try:
        with learning(model, settings) as passes:
            limited = passes.gradients(text_BT, None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert passes.messages[0].endswith("the GPU's memory is full")
    model.zero_grad()
    with learning(model, settings) as free:
        free.fit = passes.fit
        assert float(free.gradients(text_BT, None)) == pytest.approx(float(limited), rel=1e-3)


def test_a_step_waits_for_the_device_only_where_the_library_looks_for_packed_rows(device: str) -> None:
    model = build_preset("byte-1m", torch.device(device), torch.float32)
    text_BT = send(pages(6, 65).astype(np.int64), model.device)
    optimizer = make_optimizer(model, None, SETTINGS)
    with learning(model, SETTINGS) as passes, warnings.catch_warnings(record=True) as waits:
        take_step(passes, optimizer, text_BT, SETTINGS, 0)
        warnings.simplefilter("always")
        waits.clear()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            take_step(passes, optimizer, text_BT, SETTINGS, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len([wait for wait in waits if "synchronizing" in str(wait.message)]) <= 1

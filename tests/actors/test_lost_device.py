"""A GPU that fails or is absent: what the host says, and that the epoch closes without it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from actors.host import Host, Part, ScoreRequest
from actors.scorer import PartRequest, Scorer, ScorerSettings
from models.errors import DeviceLost
from models.faults import is_device_fault, is_exhaustion
from models.host.device import memory_share, open_device

FAULT = (
    "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported at some other call."
)
SAID = "the GPU failed (CUDA error: unspecified launch failure)"

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")


def fail(*_: object) -> None:
    raise torch.AcceleratorError(FAULT)


def break_device(host: Host, version: bytes) -> None:
    """From now on the version's layers end with what PyTorch raises for a fault of a GPU."""
    host._library.hosted(version).model.base_model.register_forward_pre_hook(fail)


def test_a_host_whose_device_failed_says_so_until_another_process_takes_its_place(
    network: Any, versions: tuple[Path, dict[str, bytes]], make_job_of: Any
) -> None:
    network.seal("open")
    query = network.validators["vera"].draw(network.epoch)
    ada, grace = (
        ScoreRequest(versions=(versions[1][name],), wallets=(name,), parts=(Part(0, 0, 4),))
        for name in ("ada", "grace")
    )
    before = network.host.score(grace, query)[1]
    break_device(network.host, versions[1]["ada"])
    for ask in (
        lambda: network.host.score(ada, query),
        lambda: network.host.score(grace, query),
        lambda: network.host.work(make_job_of("ada", versions[1]["ada"], "train")),
        network.host.ping,
    ):
        with pytest.raises(DeviceLost) as lost:
            ask()
        assert str(lost.value) == SAID
    other = Host(network.host._settings)
    assert other.ping() == lost.value.process, "the number of the process, which here is the same"
    assert [answer.signature for answer in other.score(grace, query)[1]] == [answer.signature for answer in before]


def test_the_epoch_closes_and_who_lived_there_is_marked_with_the_reason(network: Any) -> None:
    network.seal("open")
    rows = network.keeper.view().rows
    break_device(network.host, rows[0].manifest)
    lost = {}
    for row in rows:
        try:
            network.answers(row.manifest, row.uid, [each.draw(network.epoch) for each in network.validators.values()])
        except DeviceLost as error:
            lost[row.manifest] = f"dead: {error}"
    assert len(lost) == len(rows)
    closed = network.keeper.position().epoch
    found = network.vote([], lost)
    position = network.keeper.position()
    assert (position.kind, position.epoch) == ("close", closed)
    assert position.final_height == position.height
    for finding in found.values():
        marked = {each.uid for each in finding.neurons if each.failure == f"dead: {SAID}"}
        assert marked == {row.uid for row in rows}


@without_gpu
@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0.0), ("cuda", 0.5), ("auto", 0.5)])
def test_a_host_that_comes_up_without_its_gpu_computes_nothing_on_the_cpu(
    network: Any, versions: tuple[Path, dict[str, bytes]], device: str, gpus: float
) -> None:
    network.seal("open")
    query = network.validators["vera"].draw(network.epoch)
    host = Host(msgspec.structs.replace(network.host._settings, device=device, gpus=gpus))
    request = ScoreRequest(versions=(versions[1]["ada"],), wallets=("ada",), parts=(Part(0, 0, 4),))
    for ask in (host.ping, lambda: host.score(request, query)):
        with pytest.raises(DeviceLost, match=r"the GPU does not answer \("):
            ask()
    assert open_device("auto") == open_device("cpu", gpus) == "cpu"


def test_a_scorer_says_that_memory_was_full_and_that_its_device_failed(
    network: Any, versions: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    folder = network.host._store.materialize(versions[1]["ada"])
    scorer = Scorer(ScorerSettings(device="cpu", threads=1, batch_tokens=None, name="scorer-0"))
    request = PartRequest(folder=str(folder), file=str(tmp_path / "scores"))
    assert scorer.score(request, [b"some text"]).note == ""
    scorer._hosted(request.folder).limit_batch(64)
    receipt = scorer.score(request, [b"some text"])
    assert (receipt.refusal, receipt.scorer) == (None, "scorer-0")
    assert receipt.note == "batches of at most 64 tokens: this machine's memory is full"
    scorer._hosted(request.folder).model.base_model.register_forward_pre_hook(fail)
    for ask in (lambda: scorer.score(request, [b"some text"]), scorer.ping):
        with pytest.raises(DeviceLost, match="unspecified launch failure"):
            ask()


def test_a_full_memory_is_no_lost_device() -> None:
    full = [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ]
    gone = [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("No CUDA GPUs are available"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ]
    neither = [RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"), ValueError("CUDA error")]
    assert [(is_exhaustion(error), is_device_fault(error)) for error in (*full, *gone, *neither)] == (
        [(True, False)] * 4 + [(False, True)] * 4 + [(False, False)] * 2
    )


def test_processes_that_share_a_gpu_leave_room_for_what_each_takes_besides() -> None:
    total_bytes = 80 << 30
    for count in (2, 3, 8, 16):
        share = memory_share(1 / count, total_bytes)
        assert share > 0
        assert count * (share * total_bytes + (1 << 29)) <= total_bytes * (1 + 1e-9)
    assert memory_share(0.01, 1 << 30) > 0

"""Memory that is full and a device that fails: what the product says, and that it goes on where it can.

What bounds it: what a batch needs is hidden states of all its tokens and the logits of a few; the first table says how
much that is by batch. Then, on a GPU alone: all but a little of its memory is taken, and a model is scored, and
trained, in what is left; a process that has a quarter of the GPU takes what it can; and in a process of its own a
kernel fails, after which nothing there computes any more, and every call says why.

Run: `python -m benchmarks.gpu.memory [--device cuda] [--tiny] [--out FOLDER] [--seconds N]`.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.run import Run, failure, free, main
from benchmarks.gpu.texts import byte_pages, byte_windows
from models.bench.cost import forward_cost, size_of
from models.bench.score import load_to_measure
from models.errors import DeviceLost
from models.host.device import Watched, open_device
from models.host.hosted import Hosted
from models.host.score import score_spans
from models.train.local import train_steps
from models.train.settings import TrainSettings

ROOT = Path(__file__).parents[2]
PRESETS = {
    "cuda": ("llama-0.5b", 1024, (1, 8, 64)),
    "cpu": ("byte-10m", 128, (1, 4, 16)),
    "tiny": ("byte-1m", 16, (1, 2)),
}
"""Which model, tokens of a row, and rows of a batch."""
LEFT_BYTES = 3 << 28
"""Of a GPU's memory that is filled: 768 MiB, less than the largest batch needs and more than the smallest."""
STEP_LEFT_BYTES = 1 << 30
BLOCK_BYTES = 1 << 28
SHARE = 0.25
CHILD_S = 120


def measure(run: Run) -> None:
    """Memory by batch; what happens when it is full; children whose device fails."""
    preset, length, batches = PRESETS["tiny" if run.tiny else run.device.type]
    hosted = load_to_measure(preset, run.device, run.dtype)
    token_C, spans = byte_windows([length] * max(batches))
    with run.part("by batch"):
        for rows in batches:
            cost = forward_cost(size_of(hosted.model), max(batches), length, run.dtype.itemsize)
            setting: dict[str, str | int] = {"model": preset, "batch": rows, "length": length}
            run.timed(
                setting,
                "tokens",
                max(batches) * length,
                lambda rows=rows: score_spans(hosted, token_C, spans, rows * length),  # type: ignore[misc]  # its own
                cost,
                run.dtype,
                repeats=2 if run.tiny else 5,
            )
    if run.device.type != "cuda":
        run.note("a full memory and a device that fails need a GPU here; on a CPU the tests fill a process's memory")
        return
    with run.part("scoring in a full memory"):
        score_full(run, hosted, length, max(batches))
    with run.part("training in a full memory"):
        train_full(run)
    for child in ("share", "poison"):
        with run.part(child):
            run.need(CHILD_S)
            run.note(f"{child}: {tell_child(child)}")
    with run.part("afterwards"):
        run.note(f"this process still computes: {float(torch.ones(4, device=run.device).sum()):.0f} of 4")


def score_full(run: Run, hosted: Hosted, length: int, rows: int) -> None:
    """The same windows with all memory and with little: the message, and how far the answers are apart."""
    token_C, spans = byte_windows([length] * rows)
    plain_GC = score_spans(hosted, token_C, spans, rows * length)
    free(run.device)
    with filled(run.device, LEFT_BYTES) as taken:
        found_GC = score_spans(hosted, token_C, spans, rows * length)
    apart = float(np.abs(found_GC - plain_GC).mean())
    run.note(
        f"scored beside {taken >> 20:,} MiB that were taken: {hosted.note or 'NO MESSAGE'}; apart by {apart:.1e} nats"
    )


def train_full(run: Run) -> None:
    """Steps with all memory and with little: the message, and both losses."""
    settings = TrainSettings(steps=2, batch=64, page_bytes=513, learning_rate=1e-5)
    losses: list[float] = []
    messages: tuple[str, ...] = ()
    for left in (None, STEP_LEFT_BYTES):
        model = load_to_measure("llama-0.1b", run.device, torch.float32).model
        free(run.device)
        # Gradients and both moments beside what a pass may have.
        beside = 12 * sum(parameter.numel() for parameter in model.parameters())
        with filled(run.device, None if left is None else left + beside):
            result = train_steps(model, None, byte_pages(settings.pages, 513), settings, steps_done=0)
        losses.append(result.loss_bits_per_byte)
        messages = result.messages
        del model, result
        free(run.device)
    told = "; ".join(messages) or "NO MESSAGE"
    run.note(f"trained in a full memory: {told}; losses {losses[0]:.5f} and {losses[1]:.5f} bits a byte")


@contextmanager
def filled(device: torch.device, left_bytes: int | None) -> Iterator[int]:
    """All memory of the GPU is taken but so much; nothing, where None."""
    wanted = 0 if left_bytes is None else max(0, torch.cuda.mem_get_info(device)[0] - left_bytes)
    block = torch.empty(wanted, dtype=torch.uint8, device=device)
    try:
        yield wanted
    finally:
        del block
        free(device)


def tell_child(name: str) -> str:
    """What a process of its own says, last, of what happened to it."""
    done = subprocess.run(
        [sys.executable, "-c", f"from benchmarks.gpu import memory; memory.{name}()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CHILD_S,
    )
    lines = done.stdout.strip().splitlines()
    return lines[-1] if lines else f"rc {done.returncode}: {done.stderr.strip()[-300:]}"


def share() -> None:
    """A process with a share of the GPU takes blocks until there are no more."""
    open_device("cuda", SHARE)
    total, taken = torch.cuda.mem_get_info()[1], []
    try:
        while True:
            taken.append(torch.empty(BLOCK_BYTES, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        print(f"with {SHARE} of the GPU it could take {len(taken) * BLOCK_BYTES / total:.3f} of the memory")


def poison() -> None:
    """A process whose kernel fails: what is said then, and of the next work."""
    watched = Watched("cuda")
    device, said = torch.device(watched.device), []
    hosted = load_to_measure("byte-1m", device, torch.bfloat16)
    token_C, spans = byte_windows([16])
    try:
        with watched.watching():
            score_spans(hosted, token_C, spans)
            torch.ones(4, device=device)[torch.tensor([99], device=device)].sum().item()
    except DeviceLost as lost:
        said.append(f"the kernel's failure: {lost}")
    try:
        with watched.watching():
            score_spans(hosted, token_C, spans)
    except DeviceLost as lost:
        said.append(f"the next work: {lost}")
    try:
        torch.ones(1, device=device).item()
    except RuntimeError as error:
        said.append(f"anything else: {failure(error)}")
    print("; ".join(said), flush=True)


if __name__ == "__main__":
    main("gpu_memory", measure, __doc__)

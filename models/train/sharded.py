"""Training one model in several processes, a GPU each where there are GPUs: what a host starts and waits for.

The processes (`models.train.shard`) hold a part each of the weights, of the gradients and of the optimizer's state, and
read a part each of a step's pages; this process holds none of it. Folders and files go in and come out.

Invariants: what comes of it is what one process would have made, within rounding; when `train_sharded` returns or
raises no process of it lives, and none outlives its host for longer than it takes to see its standard input end.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from models.errors import TrainingError
from models.train.distil import Teaching, save_teaching
from models.train.passes import Fit, MemoryShort, too_large
from models.train.settings import TrainSettings

POLL_S = 0.05
KEPT_ERROR_BYTES = 2000
ANY = "any"
EXHAUSTED = 75
"""How a process ends whose pass found too little memory: all begin again with smaller passes."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes are to do, in the folder `scratch`, where pages and teaching lie.

    Attributes:
        source: folder of the model; target: folder to write it to.
        state: file of the optimizer's state, empty to begin; target_state: file to write it to.
        fit: of the passes of each process.
        threads: of PyTorch in each process.
    """

    scratch: str
    source: str
    target: str
    state: str
    target_state: str
    settings: TrainSettings
    fit: Fit
    device: str
    threads: int
    taught: bool


class ShardedResult(msgspec.Struct, frozen=True, kw_only=True):
    """After a round: as `TrainResult`, and how many bytes of weights and optimizer state each process held."""

    loss_bits_per_byte: float
    steps_done: int
    held_bytes: tuple[int, ...]
    messages: tuple[str, ...] = ()


def train_sharded(
    source: Path,
    target: Path,
    state: Path | None,
    target_state: Path,
    pages_PT: npt.NDArray[np.uint8],
    settings: TrainSettings,
    *,
    device: str,
    teaching: Teaching | None = None,
) -> ShardedResult:
    """What `models.train.local.train_folder` does, in `settings.processes` processes.

    Args:
        source: folder of the model; target: a new folder for what comes of it.
        state: file of the optimizer's state; None to begin. target_state: file for what comes of it.
        device: cpu or cuda.

    Raises TrainingError where the processes do not divide the batch, there are too few GPUs, or a process failed.
    """
    processes = settings.processes
    if settings.batch % processes:
        raise TrainingError(f"training.processes = {processes} does not divide training.batch = {settings.batch}")
    if device != "cpu" and torch.cuda.device_count() < processes:
        raise TrainingError(
            f"training.processes is {processes}, and this host sees {torch.cuda.device_count()} GPUs: give it as many "
            "with placement.gpus_per_host"
        )
    with tempfile.TemporaryDirectory(prefix="taoray-") as folder:
        scratch = Path(folder)
        np.save(scratch / "pages.npy", pages_PT)
        if teaching is not None:
            save_teaching(scratch / "teaching", teaching, ANY)
        order = Order(
            scratch=folder,
            source=str(source),
            target=str(target),
            state=str(state or ""),
            target_state=str(target_state),
            settings=settings,
            fit=Fit(settings.batch // processes, settings.gradient_checkpointing),
            device=device,
            threads=max(1, torch.get_num_threads() // processes),
            taught=teaching is not None,
        )
        return _run_until_it_fits(scratch, order)


def _run_until_it_fits(scratch: Path, order: Order) -> ShardedResult:
    """Start the processes, and all of them again with smaller passes for as long as one finds too little memory."""
    first, device = order.fit, torch.device(order.device)
    while True:
        (scratch / "order").write_bytes(msgspec.msgpack.encode(order))
        try:
            _run(scratch, order.settings.processes)
        except MemoryShort as error:
            smaller = order.fit.smaller()
            if smaller is None:
                raise too_large(order.settings.page_bytes, device, str(error)) from None
            order = msgspec.structs.replace(order, fit=smaller)
            continue
        result = msgspec.msgpack.decode((scratch / "result").read_bytes(), type=ShardedResult)
        messages = () if order.fit == first else (order.fit.told(order.settings.batch, device),)
        return msgspec.structs.replace(result, messages=messages)


def _run(scratch: Path, processes: int) -> None:
    """Start all processes and wait for all, or end all when one fails."""
    root = str(Path(__file__).parents[2])
    running: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            with (scratch / f"error-{rank}").open("wb") as error:
                command = (sys.executable, "-m", "models.train.shard", str(scratch), str(rank), str(processes))
                # Standard input stays open for as long as this process lives: its end tells the others.
                pipe = subprocess.PIPE
                running.append(subprocess.Popen(command, stdin=pipe, stdout=error, stderr=error, cwd=root))
        while any(process.poll() is None for process in running):
            check_ended(running, scratch)
            time.sleep(POLL_S)
        check_ended(running, scratch)
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def check_ended(running: Sequence["subprocess.Popen[bytes]"], scratch: Path) -> None:
    """Raise what a process ended for. One that ran out of memory makes the others fail, which is not the reason."""
    ended = sorted(
        (process.returncode != EXHAUSTED, rank) for rank, process in enumerate(running) if process.returncode
    )
    for other, rank in ended[:1]:
        said = (scratch / f"error-{rank}").read_bytes()[-KEPT_ERROR_BYTES:].decode(errors="replace").strip()
        last = said.splitlines()[-1] if said else f"ended with {running[rank].returncode}"
        raise TrainingError(f"process {rank} of {len(running)}: {last}") if other else MemoryShort(last)

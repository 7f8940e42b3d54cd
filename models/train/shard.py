"""One of several processes that train one model: it holds a part of each tensor, and reads a part of each step's pages.

PyTorch's own sharding by layer (FSDP2, `fully_shard`): a layer's weights are gathered when they are needed and let go
after it, gradients are averaged and scattered. Only the first process ever holds a whole copy of the weights, in main
memory, to read it from its folder and to write it.

Invariants: all processes take the same steps, or none writes anything; a process ends when its parent does.

    python -m models.train.shard FOLDER RANK PROCESSES
"""

import os
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from models.errors import ModelsError
from models.faults import first_line, is_exhaustion
from models.host.folders import load_model, read_config, save_model
from models.train.distil import load_teaching
from models.train.local import Share, bits_of, make_optimizer, take_steps
from models.train.optimizer import MOMENTS, OptimizerState, check_state, load_optimizer, save_optimizer
from models.train.passes import MemoryShort, learning
from models.train.sharded import EXHAUSTED, Order, ShardedResult

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

LONGEST_WAIT_S = 600.0
"""How long a process waits for another in one exchange before it gives up."""


def train_shard(order: Order, share: Share) -> ShardedResult | None:
    """This process's share of an order; the first returns the result, and writes the model and its state."""
    device = torch.device("cpu") if order.device == "cpu" else torch.device("cuda", share.rank)
    mesh = init_device_mesh(device.type, (share.processes,))
    read = load_optimizer(Path(order.state)) if share.rank == 0 and order.state else None
    whole = load_model(Path(order.source)) if share.rank == 0 else None
    model = spread_model(Path(order.source), whole, mesh, device)
    optimizer = make_optimizer(model, None, order.settings)
    steps_done = spread_state(optimizer, model, read, whole) if order.state else 0
    teaching = load_teaching([Path(order.scratch) / "teaching"]) if order.taught else None
    pages_PT = np.load(Path(order.scratch) / "pages.npy")
    settings = msgspec.structs.replace(order.settings, gradient_checkpointing=order.fit.again)
    with learning(model, settings, alone=False) as passes:
        passes.fit = order.fit
        loss = take_steps(passes, optimizer, pages_PT, settings, steps_done=steps_done, teaching=teaching, share=share)
    distributed.all_reduce(loss)
    bits = bits_of(loss / share.processes, order.settings)
    held = held_bytes(model, optimizer)
    every: list[Any] = [None] * share.processes
    distributed.all_gather_object(every, held)
    steps_done += order.settings.steps
    state = gather(model, optimizer, whole)
    if whole is None or state is None:
        return None
    save_model(whole, Path(order.target))
    save_optimizer(Path(order.target_state), state, steps_done)
    return ShardedResult(loss_bits_per_byte=bits, steps_done=steps_done, held_bytes=tuple(every))


def spread_model(
    source: Path, whole: "PreTrainedModel | None", mesh: DeviceMesh, device: torch.device
) -> "PreTrainedModel":
    """The model of a folder with this process's part of each tensor, on its device; `whole` is the first process's."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_layers import GradientCheckpointingLayer

    content = read_config(source)
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model: Any = auto.from_config(AutoConfig.for_model(**content), dtype=torch.float32)
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for module in (*layers, model):
        fully_shard(module, mesh=mesh)
    model.to_empty(device=device)
    full = dict(whole.named_parameters()) if whole is not None else {}
    for name, parameter in model.named_parameters():
        parameter.to_local().data.copy_(scatter(full.get(name), parameter).to_local())
    buffers = dict(whole.named_buffers()) if whole is not None else {}
    for name, buffer in model.named_buffers():
        if whole is not None:
            buffer.copy_(buffers[name])
        distributed.broadcast(buffer, 0)
    loaded: PreTrainedModel = model
    return loaded


def scatter(full: "Tensor | None", like: DTensor) -> DTensor:
    """A tensor that the first process has, spread as another is."""
    mine = full.detach() if full is not None else torch.empty(like.shape, dtype=like.dtype)
    return distribute_tensor(mine.to(like.device), like.device_mesh, like.placements)


def spread_state(
    optimizer: torch.optim.Optimizer,
    model: "PreTrainedModel",
    read: tuple[OptimizerState, int] | None,
    whole: "PreTrainedModel | None",
) -> int:
    """Give a fresh optimizer its part of the state that the first process has read; returns the steps done.

    Raises TrainingError where it is not this model's.
    """
    state, steps_done = read or (None, 0)
    if state is not None and whole is not None:
        check_state(whole, state)
    told: list[Any] = [steps_done]
    distributed.broadcast_object_list(told, 0)
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            own = None if state is None else state[f"{name}/{moment}"]
            if moment == "step":
                step = torch.zeros((), device=parameter.device) if own is None else own.to(parameter.device)
                distributed.broadcast(step, 0)
                optimizer.state[parameter][moment] = step
            else:
                optimizer.state[parameter][moment] = scatter(own, parameter)  # type: ignore[arg-type]  # a DTensor
    return int(told[0])


def held_bytes(model: "PreTrainedModel", optimizer: torch.optim.Optimizer) -> int:
    """Bytes of weights and of the optimizer's state in this process."""
    tensors = list(model.parameters())
    tensors += [moment for own in optimizer.state.values() for moment in own.values()]
    return sum((tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes for tensor in tensors)


def gather(
    model: "PreTrainedModel", optimizer: torch.optim.Optimizer, whole: "PreTrainedModel | None"
) -> OptimizerState | None:
    """Bring the weights into the first process's `whole`, and return the state there; tensor by tensor."""
    full = dict(whole.named_parameters()) if whole is not None else {}
    state: OptimizerState = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, DTensor)
            weights = parameter.full_tensor()
            if whole is not None:
                full[name].copy_(weights)
            for moment in MOMENTS:
                own = optimizer.state[parameter][moment]
                found = own.full_tensor() if isinstance(own, DTensor) else own
                if whole is not None:
                    state[f"{name}/{moment}"] = found.cpu()
    return state if whole is not None else None


def end_with_parent() -> None:
    """End this process when its standard input ends, as it does when the parent is gone."""

    def watch() -> None:
        # Not through sys.stdin, whose lock a thread must not hold when Python ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """The process: FOLDER with the order, RANK, PROCESSES."""
    end_with_parent()
    scratch, share = Path(sys.argv[1]), Share(int(sys.argv[2]), int(sys.argv[3]))
    order = msgspec.msgpack.decode((scratch / "order").read_bytes(), type=Order)
    torch.set_num_threads(order.threads)
    if order.device != "cpu":
        torch.cuda.set_device(share.rank)
    distributed.init_process_group(
        "gloo" if order.device == "cpu" else "nccl",
        init_method=f"file://{scratch}/rendezvous",
        rank=share.rank,
        world_size=share.processes,
        timeout=timedelta(seconds=LONGEST_WAIT_S),
    )
    try:
        result = train_shard(order, share)
    except (MemoryError, ModelsError, OSError, RuntimeError) as error:
        if not isinstance(error, ModelsError) and not is_exhaustion(error):
            raise
        print(first_line(error), file=sys.stderr, flush=True)
        # The others wait for this one, and would say so: the parent ends them.
        os._exit(EXHAUSTED if isinstance(error, MemoryShort) else 1)
    if result is not None:
        (scratch / "result").write_bytes(msgspec.msgpack.encode(result))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()

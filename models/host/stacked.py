"""Stacks: several models of one shape that read one batch together, each layer one product over all of them.

Invariants: a stack says what its models say one by one, within `TOLERANCE` of a probe, or there is no stack; its
weights are the models' own memory, for each model becomes a view of its part; everything that holds no weights
(attention, positions, activations) is the architecture's own code, which sees one batch of G times the rows.

Shapes: G models, B rows of each, N positions of each (B times tokens, where a layer does not tell them apart),
I inputs, O outputs, V tokens, H hidden numbers.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from models.faults import first_line, is_device_fault, is_exhaustion
from models.host.adapters import join_adapters
from models.host.head import COARSE_TOLERANCE, PROBE_ROWS, PROBE_TOKENS, TOLERANCE, Head, chunked_head
from models.host.hosted import Hosted

MOST_CPU_BYTES = 512
"""Of text for each model, on a CPU. Models of 320,000 parameters were 1.07 times as quick in a stack of 32 with 384
bytes each as one after another with as little, equal in one of 8 with 512, and 0.97 with 1,536: one model's weights
stay in the core's cache from batch to batch, those of eight do not. Adapters share their base's weights."""


class StackError(Exception):
    """These models cannot be stacked; the sentence says why. Ask them one by one."""


def stack(members: Sequence[Hosted]) -> Hosted:
    """Models of one shape, or adapters over one base, as one that speaks for all, in this order.

    Raises StackError; then the members are as they were, or views of common memory, and speak alone as before.
    """
    first = members[0]
    if len(members) < 2 or any(member.count > 1 for member in members):
        raise StackError("a stack is of two models or more")
    if all(member.model is first.model for member in members):
        stacked = _stack_adapters(members)
    elif any(member.adapter is not None for member in members):
        raise StackError("adapters are over different bases")
    else:
        stacked = _stack_models(members)
    _probe(stacked, members)
    return replace(stacked, members=tuple(members))


def pays(stacked: Hosted, texts: Sequence[bytes]) -> bool:
    """Whether a stack is quicker in one batch than model by model, for so much text."""
    if stacked.model.device.type != "cpu" or stacked.adapter is not None:
        return True
    return sum(map(len, texts)) <= MOST_CPU_BYTES


def _stack_adapters(members: Sequence[Hosted]) -> Hosted:
    adapters = [member.adapter for member in members if member.adapter is not None]
    joined = join_adapters(adapters) if len(adapters) == len(members) else None
    if joined is None:
        raise StackError("adapters change other layers, or in another rank")
    return replace(members[0], adapter=joined, head=replace(members[0].head, count=len(members)), batch_tokens=None)


def _stack_models(members: Sequence[Hosted]) -> Hosted:
    models: list[Any] = [member.model for member in members]
    parts = _gather(models)
    count = len(models)
    kept = [*models[0].parameters(), *models[0].buffers()]
    skeleton: Any = copy.deepcopy(models[0], {id(tensor): tensor for tensor in kept})
    shape = Batch(count)
    _regroup(skeleton, parts, shape)
    for reads in {skeleton, skeleton.base_model}:
        reads.register_forward_pre_hook(shape.note, with_kwargs=True)
    head = Head(skeleton, None, None, count) if members[0].head.body is None else chunked_head(skeleton, count)
    if head is None:
        raise StackError("their output is not told apart from their body")
    return replace(members[0], model=skeleton, head=head, batch_tokens=None)


def _gather(models: Sequence[Any]) -> dict[int, torch.Tensor]:
    """All models' parameters as one tensor [G, …] each, by the identity of the first's; the models become views."""
    named = [dict(model.named_parameters()) for model in models]
    sizes = [{name: (tensor.shape, tensor.dtype) for name, tensor in own.items()} for own in named]
    if any(own != sizes[0] for own in sizes):
        raise StackError("their tensors have different names, shapes or types")
    buffers = [dict(model.named_buffers()) for model in models]
    for name, buffer in buffers[0].items():
        if not all(name in own and torch.equal(buffer, own[name]) for own in buffers):
            raise StackError(f"their buffers {name} differ")
    parts: dict[int, torch.Tensor] = {}
    for name, tensor in named[0].items():
        joined = torch.stack([own[name].data for own in named])
        for index, own in enumerate(named):
            own[name].data = joined[index]
        parts[id(tensor)] = joined
    return parts


class Batch:
    """The shape of what the stack reads now: G models and B rows of each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows = 0

    def note(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Before the stack reads: how many rows each model has."""
        token_BT = named.get("input_ids", inputs[0] if inputs else None)
        if isinstance(token_BT, torch.Tensor):
            self.rows = len(token_BT) // self.count

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """What a layer is given as [G, rows, …]: each model's own rows, or, where there is one row for all, that."""
        if x.dim() > 1 and len(x) % self.count == 0:
            return x.reshape(self.count, -1, *x.shape[1:])
        if x.dim() > 1 and len(x) == 1:
            return x.expand(self.count, self.rows, *x.shape[1:])
        raise StackError(f"a layer is given {tuple(x.shape)}, which are not rows of {self.count} models")


class _Layer(nn.Module):
    """A layer of G models with their stacked parameters."""

    def __init__(self, batch: Batch, **tensors: torch.Tensor | None) -> None:
        super().__init__()
        self.batch = batch
        for name, tensor in tensors.items():
            held = None if tensor is None else nn.Parameter(tensor, requires_grad=False)
            self.register_parameter(name, held)


class Linear(_Layer):
    """weight [G, I, O] (a view), bias [G, O] or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[G·B, …, I] to [G·B, …, O]."""
        x_GBI = self.batch.split(x)
        x_GNI = x_GBI.flatten(1, -2)
        if self.bias is None:
            y_GNO = torch.bmm(x_GNI, self.weight)
        else:
            y_GNO = torch.baddbmm(self.bias[:, None], x_GNI, self.weight)
        return y_GNO.reshape(-1, *x_GBI.shape[2:-1], self.weight.shape[2])


class Embedding(_Layer):
    """weight [G, V, H], read as one table of G·V rows."""

    weight: torch.Tensor

    def forward(self, token: torch.Tensor) -> torch.Tensor:
        """[G·B, …] to [G·B, …, H]."""
        token_GB = self.batch.split(token)
        shift_G = torch.arange(len(token_GB), device=token.device) * self.weight.shape[1]
        row_GB = token_GB + shift_G.view(-1, *(1 for _ in token_GB.shape[1:]))
        return nn.functional.embedding(row_GB.flatten(0, 1), self.weight.flatten(0, 1))


class LayerNorm(_Layer):
    """weight and bias [G, 1, H]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, batch: Batch, epsilon: float, **tensors: torch.Tensor | None) -> None:
        super().__init__(batch, **tensors)
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[G·B, …, H], normalised over H."""
        x_GBH = self.batch.split(nn.functional.layer_norm(x, x.shape[-1:], eps=self.epsilon))
        return torch.addcmul(self.bias, x_GBH.flatten(1, -2), self.weight).view(-1, *x_GBH.shape[2:])


class RootMeanSquareNorm(_Layer):
    """The architecture's own code for its norm, with a weight [G, 1, H] that is stretched over each model's rows."""

    weight: nn.Parameter

    def __init__(self, batch: Batch, norm: nn.Module, weight: torch.Tensor) -> None:
        super().__init__(batch, weight=weight)
        self.norm = copy.deepcopy(norm, {id(tensor): tensor for tensor in norm.parameters()})
        self.norm.weight = self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[G·B, …, H], normalised over H."""
        x_GBH = self.batch.split(x)
        y_GNH: torch.Tensor = self.norm(x_GBH.flatten(1, -2))
        return y_GNH.view(-1, *x_GBH.shape[2:])


class Mapped(_Layer):
    """Any other module that holds parameters: its own code, mapped over the models by `torch.func.vmap`."""

    def __init__(self, batch: Batch, module: nn.Module, parts: dict[str, torch.Tensor]) -> None:
        super().__init__(batch)
        self.held = [module]
        self.parts = parts

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the module returns, each model's rows from its own parameters."""
        module = self.held[0]
        given = tree_map_only(torch.Tensor, self.batch.split, (inputs, named))
        axes = torch.utils._pytree.tree_map(lambda value: 0 if isinstance(value, torch.Tensor) else None, given)

        def call(parts: dict[str, torch.Tensor], given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
            return torch.func.functional_call(module, parts, *given)

        said = torch.func.vmap(call, in_dims=(0, axes))(self.parts, given)
        return tree_map_only(torch.Tensor, lambda y: y.flatten(0, 1), said)


def _regroup(module: nn.Module, parts: dict[int, torch.Tensor], batch: Batch) -> None:
    """Put layers of all models in the places of the first's, as deep as parameters lie."""
    for name, child in list(module.named_children()):
        if next(child.parameters(), None) is None:
            continue
        if next(child.parameters(recurse=False), None) is None:
            _regroup(child, parts, batch)
        else:
            setattr(module, name, _layer(child, parts, batch))


def _layer(module: nn.Module, parts: dict[int, torch.Tensor], batch: Batch) -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    own = {name: parts[id(parameter)] for name, parameter in module.named_parameters(remove_duplicate=False)}
    kind = type(module)
    if kind is nn.Linear:
        return Linear(batch, weight=own["weight"].mT, bias=own.get("bias"))
    if kind is Conv1D:
        return Linear(batch, weight=own["weight"], bias=own["bias"])
    if kind is nn.Embedding:
        return Embedding(batch, weight=own["weight"])
    if isinstance(module, nn.LayerNorm) and kind is nn.LayerNorm and set(own) == {"weight", "bias"}:
        flat = {name: part[:, None] for name, part in own.items() if part.dim() == 2}
        if len(flat) == 2:
            return LayerNorm(batch, module.eps, **flat)
    if kind.__name__.endswith("RMSNorm") and kind is not nn.RMSNorm and set(own) == {"weight"}:
        return RootMeanSquareNorm(batch, module, own["weight"][:, None])
    return Mapped(batch, module, own)


def _probe(stacked: Hosted, members: Sequence[Hosted]) -> None:
    """Compare a stack with its models on a few tokens."""
    generator = torch.Generator().manual_seed(0)
    device, head = stacked.model.device, stacked.head
    token_BT = torch.randint(head.vocabulary, (PROBE_ROWS, PROBE_TOKENS), generator=generator).to(device)
    try:
        with torch.inference_mode(), stacked.speaking():
            found_GPV = head.logits(head.hidden(token_BT))
    except Exception as error:
        if is_exhaustion(error) or is_device_fault(error):
            raise
        # The code of any architecture runs on a batch that it was not written for: whatever it stumbles over is why.
        raise StackError(f"{type(error).__name__}: {first_line(error)}") from None
    share = TOLERANCE.get(stacked.model.dtype, COARSE_TOLERANCE)
    for index, member in enumerate(members):
        with torch.inference_mode(), member.speaking():
            expected_PV = member.head.logits(member.head.hidden(token_BT))[0]
        allowed = share * expected_PV.abs().max().clamp(min=1.0)
        if found_GPV.shape[1:] != expected_PV.shape:
            raise StackError("their logits have another shape together than alone")
        # Where a model says NaN it says so in the stack too; another's answers are not touched by it.
        difference = (found_GPV[index] - expected_PV).abs()
        if bool((difference > allowed).any()) or not torch.equal(difference.isnan(), expected_PV.isnan()):
            raise StackError(f"together they differ by {float(difference.nan_to_num().max()):.2g} from each alone")

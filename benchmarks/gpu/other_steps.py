"""Other ways to a step's gradients than the product's: another loss, weights in 16 bits, layers compiled.

Invariants: each gives `take_step` what it takes, a `model` whose parameters have the gradients and `gradients` that
leaves them there, so that clipping and AdamW are the product's own; `read_by` is the model that reads.

Shapes: B rows, T tokens, N = B·(T−1) positions, H hidden numbers, V tokens in the vocabulary.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional

CHUNK_LOGITS = 1 << 28
"""Logits that are there at once: half a GiB in 16 bits, one in float32."""


class Whole:
    """The loss of all logits at once, by autocast."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.model = self.read_by = model
        self.dtype = dtype

    def gradients(self, text_BT: torch.Tensor, _: None) -> torch.Tensor:
        """Leave gradients with the parameters; returns the loss in nats."""
        with torch.autocast(text_BT.device.type, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.loss(text_BT)
        torch.autograd.backward(loss)
        return loss.detach()

    def loss(self, text_BT: torch.Tensor) -> torch.Tensor:
        """In nats per token."""
        logits = self.read_by(input_ids=text_BT[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), text_BT[:, 1:].flatten())


class Chunked(Whole):
    """The loss in chunks of positions, and its gradients, in one function, which casts the output's matrix once."""

    def loss(self, text_BT: torch.Tensor) -> torch.Tensor:
        """As `Whole`'s."""
        hidden_BTH = self.read_by.base_model(input_ids=text_BT[:, :-1], use_cache=False).last_hidden_state
        weight_VH = self.read_by.get_output_embeddings().weight
        loss: torch.Tensor = ChunkedLoss.apply(
            hidden_BTH.flatten(0, 1), weight_VH, text_BT[:, 1:].flatten(), self.dtype
        )
        return loss


class ChunkedLoss(torch.autograd.Function):
    """Mean cross-entropy of hidden states [N, H] by an output matrix [V, H] and targets [N].

    Source: Hsu et al. 2024 (Liger Kernel, arXiv:2410.10989), section 3.2.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NH: torch.Tensor, weight_VH: torch.Tensor, target_N: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        """Chunk by chunk: logits, loss, and both gradients, in `dtype`; sums in float32."""
        count, positions = len(hidden_NH), max(1, CHUNK_LOGITS // len(weight_VH))
        with torch.autocast(hidden_NH.device.type, enabled=False):
            low_VH = weight_VH.to(dtype)
            slope_NH, slope_VH = torch.empty_like(hidden_NH), torch.zeros_like(weight_VH, dtype=torch.float32)
            loss = torch.zeros((), device=hidden_NH.device)
            for first in range(0, count, positions):
                part = slice(first, first + positions)
                low_PH, target_P1 = hidden_NH[part].to(dtype), target_N[part, None]
                log_probability_PV = (low_PH @ low_VH.T).log_softmax(1, dtype=torch.float32)
                loss -= log_probability_PV.gather(1, target_P1).sum() / count
                slope_PV = log_probability_PV.exp_()
                slope_PV.scatter_add_(1, target_P1, slope_PV.new_full((1, 1), -1.0).expand_as(target_P1))
                low_PV = slope_PV.mul_(1 / count).to(dtype)
                slope_NH[part] = low_PV @ low_VH
                slope_VH += low_PV.T @ low_PH
        ctx.save_for_backward(slope_NH, slope_VH.to(weight_VH.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[torch.Tensor | None, ...]:
        """What was made in the forward pass, by what comes from above."""
        slope_NH, slope_VH = ctx.saved_tensors
        return slope_NH * upstream[0], slope_VH * upstream[0], None, None


class HalfWeights:
    """A copy of the weights in 16 bits reads and has gradients; the model's own, float32, are what AdamW changes."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.model = model
        self.dtype = dtype
        self.read_by: Any = copy.deepcopy(model, {id(buffer): buffer for buffer in model.buffers()})
        for parameter in self.read_by.parameters():
            parameter.data = parameter.data.to(dtype)
        self._way: Whole = Whole(self.read_by, torch.float32)

    def by(self, loss: type[Whole]) -> "HalfWeights":
        """With that loss."""
        self._way = loss(self.read_by, torch.float32)
        if isinstance(self._way, Chunked):
            self._way.dtype = self.dtype
        return self

    def gradients(self, text_BT: torch.Tensor, _: None) -> torch.Tensor:
        """As `Whole`'s."""
        masters, low = list(self.model.parameters()), list(self.read_by.parameters())
        self.read_by.train()
        with torch.no_grad():
            torch._foreach_copy_(low, masters)
        loss = self._way.loss(text_BT)
        torch.autograd.backward(loss)
        for master, own in zip(masters, low, strict=True):
            master.grad, own.grad = own.grad.float(), None
        return loss.detach()


@contextmanager
def compiled_layers(model: Any, on: bool) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """What switches the compiled code of a model's layers on, for as long as its context is open.

    A layer is compiled once, with autocast as it is when it is called, and reads by itself when switched off again.
    """
    if not on:
        yield nullcontext
        return
    layers = model.base_model.layers
    made = []
    for layer in layers:
        layer.compile()
        made.append(layer._compiled_call_impl)
        layer._compiled_call_impl = None

    @contextmanager
    def switched() -> Iterator[None]:
        for layer, own in zip(layers, made, strict=True):
            layer._compiled_call_impl = own
        try:
            yield
        finally:
            for layer in layers:
                layer._compiled_call_impl = None

    yield switched

"""Other ways through a model than the product's: compiled, captured in CUDA graphs, packed without padding.

Invariants: each takes part in the product's own `score_spans`, or takes what that takes, so that only the way is
another; weights are shared with the model that it is compared with; what it says is compared too.

Shapes: B rows, T tokens of each, N positions, H hidden numbers, Q heads, D numbers of a head, C tokens of all windows.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from models.host.batches import Span
from models.host.head import Head, chunked_head
from models.host.hosted import Hosted

MASKLESS, PACKED = "maskless", "packed"
"""Names of attention for which transformers makes no mask: from 5.0 it makes one for every name it knows."""

Half = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class OtherHead(Head):
    """A head one or both halves of which are computed in another way."""

    hidden_by: Half | None = None
    log_probability_by: Half | None = None

    def hidden(self, token_BT: torch.Tensor) -> torch.Tensor:
        """As the head's own."""
        return super().hidden(token_BT) if self.hidden_by is None else self.hidden_by(token_BT)

    def log_probability(self, hidden_GPH: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
        """As the head's own."""
        if self.log_probability_by is None:
            return super().log_probability(hidden_GPH, target_P)
        return self.log_probability_by(hidden_GPH, target_P)


def other(hosted: Hosted, **halves: Half) -> Hosted:
    """The model with halves of its head computed in another way; a half that already is stays so."""
    own: dict[str, Any] = {field.name: getattr(hosted.head, field.name) for field in fields(hosted.head)}
    return replace(hosted, head=OtherHead(**(own | halves)))


def head_compiled(hosted: Hosted) -> Hosted:
    """From hidden states to log-probabilities in code that torch.compile makes."""
    return other(hosted, log_probability_by=torch.compile(hosted.head.log_probability))


def body_compiled(hosted: Hosted) -> Hosted:
    """Each layer in code that torch.compile makes, once for all layers; what is around them as it is."""
    kept = [*hosted.model.parameters(), *hosted.model.buffers()]
    twin: Any = copy.deepcopy(hosted.model, {id(tensor): tensor for tensor in kept})
    for layer in twin.base_model.layers:
        layer.compile()
    head = chunked_head(twin)
    assert head is not None, "presets tell body and output apart"
    return replace(hosted, model=twin, head=head)


def maskless(hosted: Hosted) -> Hosted:
    """Without the mask that transformers makes, for which it waits once a batch to see whether rows are packed."""

    def hidden(token_BT: torch.Tensor) -> torch.Tensor:
        with attention(hosted.model, MASKLESS):
            return hosted.head.hidden(token_BT)

    return other(hosted, hidden_by=hidden)


def by_cudnn(hosted: Hosted) -> Hosted:
    """Attention by cuDNN where it has a kernel for it, else as before."""

    def hidden(token_BT: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True):
            return hosted.head.hidden(token_BT)

    return other(hosted, hidden_by=hidden)


def graphed(hosted: Hosted) -> Hosted:
    """Both halves as CUDA graphs, captured at the first batch of each shape and replayed at the others."""
    head = maskless(hosted).head
    return other(hosted, hidden_by=Graphed(head.hidden), log_probability_by=Graphed(head.log_probability, copies=True))


class Graphed:
    """Work on tensors as one CUDA graph for each shape of them.

    copies: what is returned stays as it is; else until the next call.
    """

    def __init__(self, work: Half, copies: bool = False) -> None:
        self.work = work
        self.copies = copies
        self._graphs: dict[Any, tuple[list[torch.Tensor], torch.cuda.CUDAGraph, torch.Tensor]] = {}

    def __call__(self, *given: torch.Tensor) -> torch.Tensor:
        shapes = tuple(tensor.shape for tensor in given)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture([tensor.clone() for tensor in given])
        held, graph, said = self._graphs[shapes]
        for own, tensor in zip(held, given, strict=True):
            own.copy_(tensor)
        graph.replay()
        return said.clone() if self.copies else said

    def _capture(self, held: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.cuda.CUDAGraph, torch.Tensor]:
        # Libraries make their workspaces at the first calls, which a capture does not allow.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.work(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            said = self.work(*held)
        return held, graph, said


@contextmanager
def attention(model: Any, name: str) -> Iterator[None]:
    """The model's attention by another function."""
    before, model.config._attn_implementation = model.config._attn_implementation, name
    try:
        yield
    finally:
        model.config._attn_implementation = before


class Packs:
    """Windows end to end in one row, each of which attends to itself alone."""

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self._start: torch.Tensor | None = None
        self._lengths: list[int] = []
        ALL_ATTENTION_FUNCTIONS.register(PACKED, self._attend)

    def score(self, token_C: npt.NDArray[np.int32], spans: Sequence[Span], pack_tokens: int) -> npt.NDArray[np.float32]:
        """What `score_spans` says, float32 [C], of spans that each predict all that they read."""
        said_C = np.zeros(len(token_C), np.float32)
        parts = []
        with torch.inference_mode(), attention(self.hosted.model, PACKED):
            for pack in packs_of(spans, pack_tokens):
                at = np.concatenate([np.arange(span.first, span.last) for span in pack])
                parts.append((at + 1, self._score_pack(token_C, at, [span.length for span in pack])))
        for target, values in parts:
            said_C[target] = values[0].cpu().numpy()
        return said_C

    def _score_pack(
        self, token_C: npt.NDArray[np.int32], at: npt.NDArray[np.int64], lengths: list[int]
    ) -> torch.Tensor:
        device, head = self.hosted.model.device, self.hosted.head
        position_N = np.concatenate([np.arange(length) for length in lengths])
        token_N, target_N, place_N = (
            torch.from_numpy(array.astype(np.int64)).to(device) for array in (token_C[at], token_C[at + 1], position_N)
        )
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self._start, self._lengths = torch.from_numpy(starts).to(device), lengths
        body: Any = head.body
        hidden_1NH = body(input_ids=token_N[None], position_ids=place_N[None], use_cache=False).last_hidden_state
        return head.log_probability(hidden_1NH, target_N)

    def _attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """[1, Q, N, D] to [1, N, Q, D]."""
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        if query.is_cuda:
            from torch.nn.attention.varlen import varlen_attn

            query_NQD, key_NQD, value_NQD = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
            longest, start = max(self._lengths), self._start
            assert start is not None, "a pack is read"
            said_NQD: Any = varlen_attn(
                query_NQD, key_NQD, value_NQD, start, start, longest, longest, scale=scaling, window_size=(-1, 0)
            )
            return said_NQD[None], None
        parts = zip(*(torch.split(tensor, self._lengths, 2) for tensor in (query, key, value)), strict=True)
        said = [functional.scaled_dot_product_attention(*part, is_causal=True, scale=scaling) for part in parts]
        return torch.cat(said, 2).transpose(1, 2), None


def packs_of(spans: Sequence[Span], pack_tokens: int) -> Iterator[list[Span]]:
    """Spans in their order, as many at once as have no more tokens than that; at least one."""
    pack: list[Span] = []
    for span in spans:
        if pack and sum(own.length for own in pack) + span.length > pack_tokens:
            yield pack
            pack = []
        pack.append(span)
    if pack:
        yield pack


ALL_ATTENTION_FUNCTIONS.register(MASKLESS, sdpa_attention_forward)

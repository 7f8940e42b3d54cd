"""Norms: an architecture's root mean square norm as PyTorch's own, which reads and writes each number once.

Invariants: a norm is exchanged only where its own code says the same on a probe; its weight stays the same tensor under
the same name.

Written in Python, as in most of transformers' models, the norm of a 16-bit number is 36 bytes of traffic in six kernels
(widen 2 + 4, square 4 + 4, mean 4, scale 4 + 4, narrow 4 + 2, weight 2 + 2); as one kernel of a GPU it is 4. On a CPU
whole models were as quick with either (1.02 in float32, 1.03 in bfloat16), and the same to the last bit in float32.
Source: Zhang and Sennrich 2019 (arXiv:1910.07467).
"""

import copy
import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from models.host.head import COARSE_TOLERANCE, TOLERANCE, chunked_head
from models.host.hosted import Hosted

PROBE_ROWS = 4


class FusedRMSNorm(nn.Module):
    """x / √(mean x² + ε) · weight. weight [H], or what can be stretched over x."""

    weight: nn.Parameter

    def __init__(self, weight: nn.Parameter, epsilon: float) -> None:
        super().__init__()
        self.weight = weight
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, H], normalised over H."""
        if self.weight.dim() == 1:
            return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return nn.functional.rms_norm(x, x.shape[-1:], None, self.epsilon) * self.weight


def fused_norms(hosted: Hosted) -> Hosted:
    """The model with such norms, its weights shared."""
    kept = [*hosted.model.parameters(), *hosted.model.buffers()]
    twin: Any = copy.deepcopy(hosted.model, {id(tensor): tensor for tensor in kept})
    fuse_norms(twin)
    head = chunked_head(twin)
    assert head is not None, "presets tell body and output apart"
    return replace(hosted, model=twin, head=head)


def fuse_norms(model: nn.Module) -> int:
    """Exchange the norms of a loaded model that are plain; returns how many were."""
    plain: dict[tuple[type, int, float], bool] = {}
    exchanged = 0
    for parent in [*model.modules()]:
        for name, norm in [*parent.named_children()]:
            epsilon = _epsilon(norm)
            if epsilon is None:
                continue
            weight: Any = norm.weight
            fused, kind = FusedRMSNorm(weight, epsilon), (type(norm), len(weight), epsilon)
            if kind not in plain:
                plain[kind] = _same(norm, fused)
            if plain[kind]:
                setattr(parent, name, fused)
                exchanged += 1
    return exchanged


def _epsilon(norm: nn.Module) -> float | None:
    """Of a module that may be a plain norm; None of any other."""
    named = dict(norm.named_parameters())
    if not type(norm).__name__.endswith("RMSNorm") or isinstance(norm, nn.RMSNorm | FusedRMSNorm):
        return None
    if set(named) != {"weight"} or named["weight"].dim() != 1 or len(inspect.signature(norm.forward).parameters) != 1:
        return None
    found = [getattr(norm, name, None) for name in ("variance_epsilon", "eps")]
    return next((value for value in found if isinstance(value, float)), None)


def _same(norm: nn.Module, fused: FusedRMSNorm) -> bool:
    """Whether both say the same of a few random numbers, small ones among them, for which ε counts."""
    weight = fused.weight
    generator = torch.Generator().manual_seed(0)
    x_PH = torch.randn(PROBE_ROWS, len(weight), generator=generator)
    x_PH = (x_PH * torch.logspace(-4, 1, PROBE_ROWS)[:, None]).to(weight.device, weight.dtype)
    with torch.inference_mode():
        expected_PH, found_PH = norm(x_PH).float(), fused(x_PH).float()
    allowed = TOLERANCE.get(weight.dtype, COARSE_TOLERANCE) * expected_PH.abs().max()
    return bool((found_PH - expected_PH).abs().max() <= allowed)

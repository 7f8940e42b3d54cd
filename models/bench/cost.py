"""What a piece of work costs at least: floating-point operations, and bytes through the device's memory.

Invariants: a multiplication and an addition are two operations; only what any way of doing the work must do is counted,
so that a floor is never above what is possible: of attention what a causal mask leaves, of a mixture of experts those
that a token is given to, of memory each input once and each output once; what is computed twice counts once.

Source: Kaplan et al. 2020 (arXiv:2001.08361), section 2.1; Chowdhery et al. 2022 (arXiv:2204.02311), appendix B (MFU).
"""

from dataclasses import dataclass
from typing import Any, Literal

from models.bench.ceilings import Ceilings

BACKWARD = 3
"""Operations of a training step for each of its forward pass: the gradients by inputs and by weights are two more."""


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of a piece of work."""

    operations: float
    bytes: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.operations + other.operations, self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.operations * times, self.bytes * times)

    def floors_s(self, ceilings: Ceilings) -> tuple[float, float]:
        """The least seconds that its operations take, and its bytes."""
        return self.operations / ceilings.operations_s, self.bytes / ceilings.bytes_s

    def bound(self, ceilings: Ceilings) -> Literal["operations", "bytes"]:
        """Which of the two takes longer."""
        operations_s, bytes_s = self.floors_s(ceilings)
        return "operations" if operations_s >= bytes_s else "bytes"


@dataclass(frozen=True)
class ModelSize:
    """What a forward pass of a decoder does for a token.

    Attributes:
        weights: numbers of the matrices in its layers, of experts all.
        active: those that one token is multiplied with.
        layers, width: of attention; width is heads times the width of one.
        hidden, vocabulary: of the output's matrix.
        tied: the output's matrix is the input's.
    """

    weights: int
    active: int
    layers: int
    width: int
    hidden: int
    vocabulary: int
    tied: bool

    @property
    def parameters(self) -> int:
        """All matrices' numbers, tied ones once; norms and biases are too few to count."""
        return self.weights + self.hidden * self.vocabulary * (1 if self.tied else 2)


def size_of(model: Any) -> ModelSize:
    """The size of a transformers model, from its configuration and the shapes of its tensors."""
    config = model.config.get_text_config()
    output, embedded = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    experts, chosen = _experts(config)
    weights = active = 0
    for name, tensor in model.named_parameters():
        if tensor.dim() < 2 or tensor is embedded or tensor is output:
            continue
        weights += tensor.numel()
        active += tensor.numel() * chosen // experts if ".experts." in name else tensor.numel()
    heads = int(config.num_attention_heads)
    width = heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    layers, hidden, vocabulary = int(config.num_hidden_layers), int(config.hidden_size), int(config.vocab_size)
    return ModelSize(weights, active, layers, width, hidden, vocabulary, output is embedded)


def forward_cost(size: ModelSize, rows: int, length: int, element_bytes: int, *, models: int = 1) -> Cost:
    """One pass of `rows` rows of `length` tokens through each of so many models, and the logits of every position.

    Of the bytes only the weights, each read once, of the input's matrix none: what lies between two layers may stay in
    caches.
    """
    tokens = rows * length
    attention = 2 * 2 * size.layers * size.width * tokens * (length + 1) / 2
    matrices = 2 * tokens * (size.active + size.hidden * size.vocabulary)
    return Cost(attention + matrices, float(element_bytes * (size.weights + size.hidden * size.vocabulary))) * models


def training_cost(size: ModelSize, rows: int, length: int) -> Cost:
    """One step of AdamW: forward, backward; weights, gradients and both moments in float32, read and written once."""
    forward = forward_cost(size, rows, length, 4)
    return Cost(BACKWARD * forward.operations, 4.0 * size.parameters * (2 + 2 + 2 * 2))


def value_cost(models: int, events: int) -> Cost:
    """A pass over the probabilities of all models, float32: what any valuation reads once, each used in one product."""
    return Cost(2.0 * models * events, 4.0 * models * events)


def _experts(config: Any) -> tuple[int, int]:
    """How many experts a layer has, and how many of them a token is given to."""
    for name in ("num_local_experts", "num_experts", "n_routed_experts"):
        if count := getattr(config, name, None):
            return int(count), int(config.num_experts_per_tok)
    return 1, 1

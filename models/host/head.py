"""The head: from a model's last hidden states to log-probabilities, a few positions at a time.

Invariants: what it computes are the model's own logits, compared on a probe when the model is loaded; logits of a batch
never exist at once, only those of one chunk of positions.

Shapes: G models that speak together (mostly 1), B rows, T tokens of each, N = B·T, H hidden numbers, P positions,
V tokens in the vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from models.faults import is_device_fault, is_exhaustion

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_LOGITS_CPU = 1 << 22
"""Logits computed at once on a CPU: 16 MiB in float32; a sixteenth of it was 1.7 times slower with 16,384 tokens."""
LEAST_POSITIONS = 256
"""However large the vocabulary: its matrix is read once a chunk, and with 50,000 tokens 5 positions took twice 10's."""
CHUNK_LOGITS_DEVICE = 1 << 27
"""On an accelerator: half a GiB in float32, twice that while they become log-probabilities. With 128,256 tokens that is
1,046 positions, whose product with the matrix is 1,046 operations for each byte of it in 16 bits; by its datasheet an
H100 needs 295 to be bound by operations. A logit of 16 bits is written (2 bytes), read and widened (6), read and made a
log-probability (8): 16 bytes of traffic are what the head costs beside its product."""
WHOLE_LOGITS = 1 << 27
"""Logits of a batch of a model that only gives them all: half a GiB in float32."""
PROBE_ROWS, PROBE_TOKENS = 2, 9
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
COARSE_TOLERANCE = 0.05
"""Largest difference on the probe, as a share of the logits' largest: in float32, and in 16 bits, where a product of
another shape is rounded elsewhere."""


@dataclass(frozen=True)
class Head:
    """How logits are computed. body: the layers under the output; None: only the model itself gives its logits.

    count: how many models read each row; of a batch the first B rows are the first's, and so on.
    """

    model: Any
    body: Any | None
    project: Callable[[torch.Tensor], torch.Tensor] | None
    count: int = 1

    def hidden(self, token_BT: torch.Tensor) -> torch.Tensor:
        """What `logits` takes: each model's hidden states [G, N, H], or its own logits [G, N, V]."""
        if self.count > 1:
            token_BT = token_BT.repeat(self.count, 1)
        if self.body is None:
            output_BTX: torch.Tensor = self.model(input_ids=token_BT, use_cache=False).logits
        else:
            output_BTX = self.body(input_ids=token_BT, use_cache=False).last_hidden_state
        return output_BTX.reshape(self.count, -1, output_BTX.shape[-1])

    def logits(self, hidden_GPH: torch.Tensor) -> torch.Tensor:
        """Logits float32 [G, P, V] of some positions."""
        if self.project is None:
            return hidden_GPH.float()
        logits_PV = self.project(hidden_GPH.flatten(0, 1)).float()
        return logits_PV.view(*hidden_GPH.shape[:2], -1)

    def log_probability(self, hidden_GPH: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
        """Natural log-probability float32 [G, P] of the token that comes after each position."""
        fitting = self._chunk_logits(hidden_GPH.device) // self.vocabulary
        positions = max(1, max(LEAST_POSITIONS, fitting) // self.count)
        return torch.cat(list(self._chunks(hidden_GPH, target_P, positions)), 1)

    @property
    def most_tokens(self) -> int:
        """How many tokens all models may read in a batch: any number, unless all its logits are computed."""
        return max(1, WHOLE_LOGITS // self.vocabulary) if self.body is None else 1 << 30

    @property
    def vocabulary(self) -> int:
        """How many logits a position has."""
        return int(self.model.config.get_text_config().vocab_size)

    def _chunks(self, hidden_GPH: torch.Tensor, target_P: torch.Tensor, positions: int) -> Iterator[torch.Tensor]:
        for hidden, target in zip(torch.split(hidden_GPH, positions, 1), torch.split(target_P, positions), strict=True):
            logits, targets = self.logits(hidden).flatten(0, 1), target.repeat(self.count)
            yield -torch.nn.functional.cross_entropy(logits, targets, reduction="none").view(self.count, -1)

    def _chunk_logits(self, device: torch.device) -> int:
        return CHUNK_LOGITS_CPU if device.type == "cpu" else CHUNK_LOGITS_DEVICE


def find_head(model: "PreTrainedModel") -> Head:
    """The head of a loaded model: in chunks where a probe gives the model's own logits so, else the model's own."""
    whole, chunked = Head(model, None, None), chunked_head(model)
    if chunked is None:
        return whole
    generator = torch.Generator().manual_seed(0)
    token_BT = torch.randint(whole.vocabulary, (PROBE_ROWS, PROBE_TOKENS), generator=generator).to(model.device)
    with torch.inference_mode():
        expected = whole.logits(whole.hidden(token_BT))
        try:
            found = chunked.logits(chunked.hidden(token_BT))
        except (AttributeError, RuntimeError, TypeError) as error:
            if is_exhaustion(error) or is_device_fault(error):
                raise
            # A body that takes or gives something else than this one expects: its model still knows how.
            return whole
    if found.shape != expected.shape:
        return whole
    allowed = TOLERANCE.get(model.dtype, COARSE_TOLERANCE) * expected.abs().max().clamp(min=1.0)
    return chunked if bool((found - expected).abs().max() <= allowed) else whole


def chunked_head(model: "PreTrainedModel", count: int = 1) -> Head | None:
    """The head of body and output apart; None where a model does not tell them apart."""
    loaded: Any = model
    output, body = loaded.get_output_embeddings(), loaded.base_model
    if output is None or body is model:
        return None
    return Head(model, body, chain(output, after_output(model.config.get_text_config())), count)


def after_output(config: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What some models do to their logits: Gemma's soft cap, Cohere's and Granite's scale."""
    if cap := getattr(config, "final_logit_softcapping", None):
        return lambda logits: torch.tanh(logits / cap) * cap
    if scale := getattr(config, "logit_scale", None):
        return lambda logits: logits * scale
    if divisor := getattr(config, "logits_scaling", None):
        return lambda logits: logits / divisor
    return None


def chain(
    first: Callable[[torch.Tensor], torch.Tensor], second: Callable[[torch.Tensor], torch.Tensor] | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """One after the other."""
    return first if second is None else lambda value: second(first(value))

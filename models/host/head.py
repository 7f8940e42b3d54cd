"""The head: from a model's last hidden states to log-probabilities, a few positions at a time.

Invariants: what it computes are the model's own logits, compared on a probe when the model is loaded; logits of a batch
never exist at once, only those of one chunk of positions.

Shapes: B rows, T tokens of each, H hidden numbers, P positions, V tokens in the vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_LOGITS_CPU = 1 << 22
"""Logits computed at once on a CPU: 16 MiB in float32; a sixteenth of it was 1.7 times slower with 16,384 tokens."""
LEAST_POSITIONS = 256
"""However large the vocabulary: its matrix is read once a chunk, and with 50,000 tokens 5 positions took twice 10's."""
CHUNK_LOGITS_DEVICE = 1 << 28
"""On an accelerator: 1 GiB in float32, enough to keep it busy."""
WHOLE_LOGITS = 1 << 27
"""Logits of a batch of a model that only gives them all: half a GiB in float32."""
PROBE_ROWS, PROBE_TOKENS = 2, 9
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
COARSE_TOLERANCE = 0.05
"""Largest difference on the probe, as a share of the logits' largest: in float32, and in 16 bits, where a product of
another shape is rounded elsewhere."""


@dataclass(frozen=True)
class Head:
    """How logits are computed. body: the layers under the output; None: only the model itself gives its logits."""

    model: Any
    body: Any | None
    project: Callable[[torch.Tensor], torch.Tensor] | None

    def hidden(self, token_BT: torch.Tensor) -> torch.Tensor:
        """What `logits` takes: hidden states [B, T, H], or the model's own logits [B, T, V]."""
        if self.body is None:
            logits_BTV: torch.Tensor = self.model(input_ids=token_BT, use_cache=False).logits
            return logits_BTV
        hidden_BTH: torch.Tensor = self.body(input_ids=token_BT, use_cache=False).last_hidden_state
        return hidden_BTH

    def logits(self, hidden_PH: torch.Tensor) -> torch.Tensor:
        """Logits float32 [P, V] of some positions."""
        return (hidden_PH if self.project is None else self.project(hidden_PH)).float()

    def log_probability(self, hidden_PH: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
        """Natural log-probability float32 [P] of the token that comes after each position."""
        positions = max(LEAST_POSITIONS, self._chunk_logits(hidden_PH.device) // self.vocabulary)
        return torch.cat(list(self._chunks(hidden_PH, target_P, positions)))

    @property
    def most_tokens(self) -> int:
        """How many tokens a batch may have: any number, unless all its logits are computed."""
        return max(1, WHOLE_LOGITS // self.vocabulary) if self.body is None else 1 << 30

    @property
    def vocabulary(self) -> int:
        """How many logits a position has."""
        return int(self.model.config.get_text_config().vocab_size)

    def _chunks(self, hidden_PH: torch.Tensor, target_P: torch.Tensor, positions: int) -> Iterator[torch.Tensor]:
        for hidden, target in zip(torch.split(hidden_PH, positions), torch.split(target_P, positions), strict=True):
            yield -torch.nn.functional.cross_entropy(self.logits(hidden), target, reduction="none")

    def _chunk_logits(self, device: torch.device) -> int:
        return CHUNK_LOGITS_CPU if device.type == "cpu" else CHUNK_LOGITS_DEVICE


def find_head(model: "PreTrainedModel") -> Head:
    """The head of a loaded model: in chunks where a probe gives the model's own logits so, else the model's own."""
    whole = Head(model, None, None)
    loaded: Any = model
    output, body = loaded.get_output_embeddings(), loaded.base_model
    if output is None or body is model:
        return whole
    chunked = Head(model, body, chain(output, after_output(model.config.get_text_config())))
    generator = torch.Generator().manual_seed(0)
    token_BT = torch.randint(whole.vocabulary, (PROBE_ROWS, PROBE_TOKENS), generator=generator).to(model.device)
    with torch.inference_mode():
        expected = whole.logits(whole.hidden(token_BT))
        try:
            found = chunked.logits(chunked.hidden(token_BT))
        except (AttributeError, RuntimeError, TypeError):
            # A body that takes or gives something else than this one expects: its model still knows how.
            return whole
    if found.shape != expected.shape:
        return whole
    allowed = TOLERANCE.get(model.dtype, COARSE_TOLERANCE) * expected.abs().max().clamp(min=1.0)
    return chunked if bool((found - expected).abs().max() <= allowed) else whole


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

"""The configuration of local training: what a person may set under `[training]`.

Invariants: frozen; every bound is in its type; imports no torch.
"""

import math
from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class TrainSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One round of AdamW (Loshchilov and Hutter 2019): `steps` steps of `batch` pages of `page_bytes` bytes.

    The learning rate rises over `warmup_steps` to `learning_rate`, stays, and after `steady_steps` falls as
    1/sqrt(steps), for ever: a network has no last step towards which a rate could fall to 0, and one that is
    interrupted or prolonged has the rate that it would have had. Gradients are clipped to the norm `gradient_clip`.

    Attributes:
        gradient_checkpointing: keep no activations of a layer for the backward pass, but compute them again.
        processes: over how many processes, a GPU each, a model, its gradients and its optimizer's state are spread.
        distil_weight: λ, of the divergence from what the collective expects of shared pages; 0: none.
        distil_pages: shared pages of an epoch, over all strata.
        distil_top: how many of the 256 bytes, the likeliest, are told apart at each place.
        distil_floor: a byte less likely than this is not told apart from the others.
    """

    steps: Positive = 60
    batch: Positive = 8
    page_bytes: Annotated[int, msgspec.Meta(ge=2)] = 129
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 3e-3
    warmup_steps: Annotated[int, msgspec.Meta(ge=0)] = 10
    steady_steps: Positive = 200
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.01
    gradient_clip: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    beta_1: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.9
    beta_2: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.95
    gradient_checkpointing: bool = False
    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    distil_weight: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 0.0
    distil_pages: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    distil_top: Annotated[int, msgspec.Meta(ge=1, le=128)] = 16
    distil_floor: Annotated[float, msgspec.Meta(ge=0.0, le=0.1)] = 1e-4

    @property
    def pages(self) -> int:
        """Pages that one round reads."""
        return self.steps * self.batch

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over all rounds."""
        rise = min(1.0, (step + 1) / (self.warmup_steps + 1))
        fall = math.sqrt(self.steady_steps / max(self.steady_steps, step + 1))
        return self.learning_rate * rise * fall

"""A step's gradients, in as many passes over the model as its memory asks for.

Invariants: however many pages a pass reads, the gradients are those of the mean over all pages of the step, within
rounding; a pass that finds too little memory leaves nothing behind, and the step begins again with smaller passes; what
was made smaller stays so, and is told; nothing here waits for the device, but transformers does, once a pass, to see
whether rows are packed.

Legend: B pages of a step, T bytes of a page, L = T−1 places, K bytes told apart at each.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch
from torch.nn import functional

from models.errors import TrainingError
from models.faults import first_line, is_exhaustion, memory_of
from models.host.head import chunked_head
from models.train.chunked_loss import WHOLE_VOCABULARY, add_gradients
from models.train.distil import divergence
from models.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class Lesson(NamedTuple):
    """A step's share of a teaching: int64 [B, T], int64 [B, T−1, K], float32 [B, T−1, K]."""

    text_BT: "Tensor"
    byte_BLK: "Tensor"
    probability_BLK: "Tensor"

    def rows(self, first: int, last: int) -> "Lesson":
        """Some of its pages."""
        return Lesson(*(part[first:last] for part in self))


class MemoryShort(TrainingError):
    """A pass found too little memory, and it is not for this process alone to take smaller ones."""


class Fit(msgspec.Struct, frozen=True):
    """What is kept in memory at once: of so many of a step's pages the activations, or some of each layer's.

    Attributes:
        rows: pages of a pass, and as many of a lesson's.
        again: activations are computed again for the backward pass, layer by layer, and not kept.
    """

    rows: int
    again: bool

    def smaller(self) -> "Fit | None":
        """What needs less: half as many pages, down to one; then activations again; None: nothing does."""
        if self.rows > 1:
            return Fit(-(-self.rows // 2), self.again)
        return None if self.again else Fit(1, True)

    def told(self, batch: int, device: torch.device) -> str:
        """What a person reads of a step of so many pages that was made to fit."""
        again = ", their activations computed twice" if self.again else ""
        pages = "one page" if self.rows == 1 else f"{self.rows} pages"
        return f"steps of {batch} pages are read {pages} at a time{again}: {memory_of(device.type)} is full"


class Passes:
    """How a model reads the pages of its steps.

    Attributes:
        model: in train mode.
        fit: of the passes now.
        dtype: of matrix products; weights and gradients are float32.
    """

    def __init__(self, model: "PreTrainedModel", settings: TrainSettings, dtype: torch.dtype, *, alone: bool) -> None:
        self.model: Any = model
        self._settings = settings
        self._alone = alone
        # Each process of several has a part of the output alone, which only the whole model gathers.
        head = chunked_head(model) if alone else None
        self._head = head if head is not None and head.vocabulary > WHOLE_VOCABULARY else None
        self._first = self.fit = Fit(max(1, settings.batch // settings.processes), settings.gradient_checkpointing)
        self.dtype = dtype

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    @property
    def messages(self) -> tuple[str, ...]:
        """What was made smaller, for a person."""
        batch = self._settings.batch
        return () if self.fit == self._first else (self.fit.told(batch, self.device),)

    def gradients(self, text_BT: "Tensor", lesson: Lesson | None) -> "Tensor":
        """Leave a step's gradients with the parameters, which have none; returns the text's loss in nats per byte.

        Raises:
            TrainingError: not even one page fits in memory.
            MemoryShort: too little memory, where several processes must make their passes smaller together.
        """
        while True:
            try:
                return self._all_passes(text_BT, lesson)
            except (MemoryError, RuntimeError) as error:
                if not is_exhaustion(error):
                    raise
                short = first_line(error)
            # Outside the handler: the error's traceback held the activations.
            self.model.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._shrink(text_BT, short)

    def _all_passes(self, text_BT: "Tensor", lesson: Lesson | None) -> "Tensor":
        loss = torch.zeros((), device=text_BT.device)
        for first in range(0, len(text_BT), self.fit.rows):
            last = min(first + self.fit.rows, len(text_BT))
            loss += self._one_pass(text_BT, lesson, first, last)
        return loss

    def _one_pass(self, text_BT: "Tensor", lesson: Lesson | None, first: int, last: int) -> "Tensor":
        """Add the gradients of some pages, by their share in the step; returns their share of the loss."""
        share = (last - first) / len(text_BT)
        own_BT, taught = text_BT[first:last], None if lesson is None else lesson.rows(first, last)
        if self._head is not None and taught is None:
            return add_gradients(self._head, own_BT[:, :-1], own_BT[:, 1:].flatten(), self.dtype, share)
        read_BT = own_BT if taught is None else torch.cat([own_BT, taught.text_BT])
        with torch.autocast(own_BT.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.model(input_ids=read_BT[:, :-1], use_cache=False).logits
        own = len(own_BT)
        loss = share * functional.cross_entropy(logits[:own].float().flatten(0, 1), own_BT[:, 1:].flatten())
        whole = loss
        if taught is not None:
            apart = divergence(logits[own:], taught.byte_BLK, taught.probability_BLK)
            whole = loss + share * self._settings.distil_weight * apart
        torch.autograd.backward(whole)
        return loss.detach()

    def _shrink(self, text_BT: "Tensor", short: str) -> None:
        if not self._alone:
            raise MemoryShort(short)
        smaller = self.fit.smaller()
        if smaller is None or (smaller.again and not self.model.supports_gradient_checkpointing):
            raise too_large(text_BT.shape[1], self.device, short)
        if smaller.again and not self.fit.again:
            compute_again(self.model)
        self.fit = smaller


def too_large(page_bytes: int, device: torch.device, short: str) -> TrainingError:
    """What is said where not even one page fits."""
    return TrainingError(
        f"{memory_of(device.type)} does not hold a step of one page of {page_bytes} bytes ({short}): take shorter "
        "pages (training.page_bytes), a smaller model, or more GPUs for it (training.processes)"
    )


@contextmanager
def memory_told(device: torch.device) -> Iterator[None]:
    """What runs out of memory here ends with one clear sentence: a TrainingError."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        short = first_line(error)
        raise TrainingError(
            f"{memory_of(device.type)} does not hold the model, its gradients and what AdamW remembers ({short}): "
            "take a smaller model, or more GPUs for it (training.processes)"
        ) from None


def matrix_dtype(device: torch.device) -> torch.dtype:
    """What matrix products are computed in: bfloat16 on a GPU that has it, float32 elsewhere."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def learning(
    model: "PreTrainedModel", settings: TrainSettings, dtype: torch.dtype | None = None, *, alone: bool = True
) -> Iterator[Passes]:
    """The model in train mode, and how it reads the pages of its steps; afterwards in eval mode and as it was.

    Args:
        dtype: of matrix products; None: as fits the device.
        alone: no other process trains the same model.
    """
    passes = Passes(model, settings, dtype or matrix_dtype(model.device), alone=alone)
    if settings.gradient_checkpointing:
        compute_again(model)
    model.train()
    try:
        yield passes
    finally:
        model.train(False)
        if passes.fit.again:
            loaded: Any = model
            with _quietly():
                loaded.gradient_checkpointing_disable()
            loaded.disable_input_require_grads()


def compute_again(model: "PreTrainedModel") -> None:
    """Have each layer's activations computed again for the backward pass. Raises TrainingError where it cannot be."""
    loaded: Any = model
    try:
        with _quietly():
            loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise TrainingError(f"gradient_checkpointing: {error}") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' word that from 6 on these methods have another name, which its first 5.x have not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield

"""Who trains on what: the text of a comparison, in one order for every way to train, and what all begin from.

Invariants: everything follows from the seed; every way to train reads the same pages in the same order, one machine
batch by batch, members each a batch at a time; held-out windows are the same for all ways, and of no document that
anybody trains on.

Legend: P parameters, W windows of T bytes.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from models.host.architectures import Architecture, build_model
from models.text.corpus import Bytes, Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import Windows, draw_pages, draw_windows
from models.train.layout import Layout, Vector, layout_of, read_vector, write_vector
from models.train.local import train_steps
from models.train.optimizer import OptimizerState
from models.train.settings import TrainSettings

DEFAULT_TEXT = Data()
"""The standard library's."""
LEAST_WINDOWS = 1024
"""Held-out windows that a text must have."""


class Settings(msgspec.Struct, frozen=True):
    """What every way to train shares.

    Attributes:
        tokens: bytes that all members of a run predict together.
        batch: pages of a step of one member.
        inner_steps: steps of a member between two exchanges.
        learning_rate: highest rate of AdamW.
        warm_share, steady_share: parts of a run in which the rate rises, and until which it stays; then it falls.
        windows: held-out windows that the end is measured on.
        curve_windows: as many of them that the way there is measured on.
        points: how often on the way.
    """

    architecture: Architecture = Architecture("llama", 104, 2, 4)
    tokens: int = 3 << 19
    batch: int = 8
    page_bytes: int = 129
    inner_steps: int = 2
    learning_rate: float = 3e-3
    warm_share: float = 0.05
    steady_share: float = 0.5
    windows: int = 1024
    curve_windows: int = 192
    points: int = 12

    @property
    def pages(self) -> int:
        """Pages of a run."""
        return self.tokens // (self.page_bytes - 1)

    def steps(self, members: int) -> int:
        """Steps of each member, a whole number of exchanges."""
        return self.rounds(members) * self.inner_steps

    def rounds(self, members: int) -> int:
        """Exchanges of a run."""
        return self.pages // (members * self.batch * self.inner_steps)

    def training(self, steps: int, batch: int, total_steps: int) -> TrainSettings:
        """AdamW for `steps` of `total_steps` steps."""
        return TrainSettings(
            steps=steps,
            batch=batch,
            page_bytes=self.page_bytes,
            learning_rate=self.learning_rate,
            warmup_steps=round(self.warm_share * total_steps),
            steady_steps=max(1, round(self.steady_share * total_steps)),
        )


@dataclass(frozen=True, eq=False)
class World:
    """The text, the standard library's unless `data` says otherwise, and the first parameters of one seed."""

    folder: Path
    settings: Settings
    seed: int
    data: Data = DEFAULT_TEXT

    @cached_property
    def corpus(self) -> Corpus:
        """The text, as a network lays it down."""
        return prepare_corpus(
            self.data,
            self.folder / "corpus",
            window_bytes=self.settings.page_bytes,
            minimum_windows=min(LEAST_WINDOWS, self.settings.windows),
        )

    @cached_property
    def pages_PT(self) -> Bytes:
        """All pages of a run, in the order in which they are read."""
        return self._pages("pages", self.settings.pages)

    def other_pages(self, purpose: str, count: int) -> Bytes:
        """Training pages that nobody was given."""
        return self._pages(purpose, count)

    def _pages(self, purpose: str, count: int) -> Bytes:
        seed = f"training {self.seed} {purpose}".encode()
        return draw_pages(self.corpus, seed, strata=None, pages=count, page_bytes=self.settings.page_bytes)

    def windows(self, purpose: str, count: int) -> Windows:
        """Held-out windows, drawn by their purpose."""
        seed = f"training {self.seed} windows {purpose}".encode()
        return draw_windows(self.corpus, seed, windows=count, window_bytes=self.settings.page_bytes)

    @cached_property
    def held_out_WT(self) -> Bytes:
        """What the end of a run is measured on."""
        return self.windows("end", self.settings.windows).text_WT

    @cached_property
    def curve_WT(self) -> Bytes:
        """What the way there is measured on: a part of what the end is measured on."""
        order = np.random.default_rng(self.seed).permutation(len(self.held_out_WT))
        return self.held_out_WT[order[: self.settings.curve_windows]]

    def model(self) -> PreTrainedModel:
        """The model that every way to train begins from."""
        return build_model(self.settings.architecture, self.seed)

    def pages_of(self, member: int, members: int, round_number: int) -> Bytes:
        """The pages of a member in a round: its batch of each step in which all take one together."""
        batch, inner = self.settings.batch, self.settings.inner_steps
        together = members * batch
        first = round_number * inner * together + member * batch
        rows = (first + np.arange(inner)[:, None] * together + np.arange(batch)).ravel()
        return self.pages_PT[rows]


@torch.no_grad()
def bits_per_byte(model: PreTrainedModel, text_WT: Bytes, batch: int = 64) -> float:
    """Mean of −log2 of the probability of every byte but each window's first."""
    total = 0.0
    for start in range(0, len(text_WT), batch):
        text_BT = torch.from_numpy(text_WT[start : start + batch].astype(np.int64))
        logits = model(input_ids=text_BT[:, :-1], use_cache=False).logits
        total += functional.cross_entropy(logits.flatten(0, 1), text_BT[:, 1:].flatten(), reduction="sum").item()
    return total / math.log(2) / (len(text_WT) * (text_WT.shape[1] - 1))


@dataclass
class Curve:
    """A run as it goes: bits per byte over tokens and over bytes that were sent."""

    world: World
    model: PreTrainedModel
    started: float
    points: list[tuple[int, float]]

    @classmethod
    def begin(cls, world: World, model: PreTrainedModel) -> "Curve":
        """A run at its first parameters."""
        curve = cls(world, model, time.perf_counter(), [])
        curve.add(0)
        return curve

    def add(self, tokens: int) -> None:
        """Measure the model as it is now; where it says nothing there is no point."""
        bits = bits_per_byte(self.model, self.world.curve_WT)
        if math.isfinite(bits):
            self.points.append((tokens, bits))

    def add_vector(self, tokens: int, theta_P: Vector) -> None:
        """Measure parameters."""
        write_vector(self.model, theta_P)
        self.add(tokens)

    def end(self, tokens: int, sent_bytes: int, **more: Any) -> dict[str, Any]:
        """The record of a run: the end on all held-out windows; None where it is no number.

        Args:
            sent_bytes: what each member sent.
        """
        bits = bits_per_byte(self.model, self.world.held_out_WT)
        return {
            "bits_per_byte": bits if math.isfinite(bits) else None,
            "tokens": tokens,
            "sent_bytes": sent_bytes,
            "curve": self.points,
            "seconds": round(time.perf_counter() - self.started, 1),
            **more,
        }


def measured_after(count: int, points: int) -> set[int]:
    """After which of `count` rounds the way is measured: about `points` times, the last one always."""
    return {math.ceil(count * point / points) for point in range(1, points + 1)}


def together(world: World, members: int) -> dict[str, Any]:
    """AdamW with the mean gradient of all members after each of their steps; `members` 1: one machine alone.

    The mean gradient of equal batches is the gradient of one large batch, so that one process computes it. Each
    member sends its gradient, float32, once a step.
    """
    settings, model = world.settings, world.model()
    batch = settings.batch * members
    steps = settings.pages // batch
    curve, state, done = Curve.begin(world, model), None, 0
    for number in range(settings.points):
        span = (number + 1) * steps // settings.points - done
        pages = world.pages_PT[done * batch : (done + span) * batch]
        result = train_steps(model, state, pages, settings.training(span, batch, steps), steps_done=done)
        state, done = result.optimizer_state, result.steps_done
        curve.add(done * batch * (settings.page_bytes - 1))
    sent = 4 * layout_of(model).size * steps if members > 1 else 0
    return curve.end(done * batch * (settings.page_bytes - 1), sent, exchanges=steps if members > 1 else 0)


@dataclass
class Trainer:
    """One member's own training: what its optimizer remembers. All members share one model's memory."""

    world: World
    model: PreTrainedModel
    members: int
    optimizer_state: OptimizerState | None = None
    steps_done: int = 0

    def pseudo_gradient(self, theta_P: Vector, pages_PT: Bytes) -> Vector:
        """Δ = θ − θ after this member's steps on its pages."""
        settings = self.world.settings
        write_vector(self.model, theta_P)
        training = settings.training(settings.inner_steps, settings.batch, settings.steps(self.members))
        done = train_steps(self.model, self.optimizer_state, pages_PT, training, steps_done=self.steps_done)
        self.optimizer_state, self.steps_done = done.optimizer_state, done.steps_done
        return theta_P - read_vector(self.model)


def begin(world: World) -> tuple[PreTrainedModel, Layout, Vector]:
    """What a cohort begins with."""
    model = world.model()
    return model, layout_of(model), read_vector(model)

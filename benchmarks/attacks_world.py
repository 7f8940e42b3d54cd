"""The honest network that is attacked: six small models learn from the standard library's text, epoch by epoch.

Invariants: everything follows from the seed; a version is trained once and scored once on the windows of an epoch; an
epoch's windows come from that epoch's own seed, and no model was trained on them. What was trained is kept beside the
corpus, under the settings that it came from.

Legend: W windows of T bytes, M = W·(T-1) events.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from benchmarks.attacks_models import Speaker, Text, constant, score, speak
from models.host.architectures import Architecture, build_model
from models.host.folders import load_model, save_model
from models.text.corpus import Corpus
from models.text.data import Data
from models.text.prepare import prepare_corpus
from models.text.windows import Windows, draw_pages, draw_windows
from models.train.local import train_steps
from models.train.settings import TrainSettings
from models.value.round import quantise

WINDOW_BYTES = 129
REFERENCE_DRAW = 1000
"""Draws from this number on are no epoch's: four times as much text, to know more exactly what a version is worth."""
REFERENCE_TIMES = 4


class Peer(msgspec.Struct, frozen=True):
    """An honest peer: its uid is its place in the network."""

    name: str
    architecture: Architecture
    strata: tuple[str, ...] = ()


LLAMA = Architecture("llama", 104, 2, 4)
PEERS = (
    Peer("ada", LLAMA),
    Peer("grace", Architecture("gpt2", 96, 2, 4, context=1024)),
    Peer("emmy", Architecture("gpt_neox", 104, 2, 4)),
    Peer("coder", Architecture("qwen2", 112, 2, 4, kv_heads=2), ("code", "tests")),
    Peer("scribe", Architecture("gpt_neox", 104, 2, 4), ("documentation",)),
    Peer("tabula", LLAMA, ("tables",)),
)


class Settings(msgspec.Struct, frozen=True):
    """What the network's models follow from, beside the text."""

    epochs: int = 12
    windows: int = 144
    seed: int = 1
    training: TrainSettings = TrainSettings(steps=50)
    peers: tuple[Peer, ...] = PEERS


@dataclass(frozen=True, eq=False)
class Version:
    """A published version: its name is unique and names what it says."""

    name: str
    says: Speaker


@dataclass(frozen=True, eq=False)
class World:
    """The text, the honest versions and every row that was scored."""

    folder: Path
    settings: Settings
    _rows: dict[tuple[str, int], NDArray[np.int32]] = field(default_factory=dict)
    models: dict[str, PreTrainedModel] = field(default_factory=dict)
    _windows: dict[int, Windows] = field(default_factory=dict)

    @cached_property
    def corpus(self) -> Corpus:
        """The standard library's text."""
        return prepare_corpus(
            Data(),
            self.folder / "corpus",
            window_bytes=WINDOW_BYTES,
            minimum_windows=REFERENCE_TIMES * self.settings.windows,
        )

    @cached_property
    def baseline(self) -> Version:
        """p_0."""
        return Version("baseline", constant(self.corpus.baseline_log_probability()))

    def windows(self, draw: int) -> Windows:
        """The held-out windows of an epoch, or of a reference draw."""
        if draw not in self._windows:
            seed = f"attacks {self.settings.seed} windows {draw}".encode()
            count = self.settings.windows * (REFERENCE_TIMES if draw >= REFERENCE_DRAW else 1)
            self._windows[draw] = draw_windows(self.corpus, seed, windows=count, window_bytes=WINDOW_BYTES)
        return self._windows[draw]

    def pages(self, purpose: str, count: int, strata: Sequence[str] = ()) -> Text:
        """Training text of a peer or of an attacker, uint8 [count, T]."""
        seed = f"attacks {self.settings.seed} pages {purpose}".encode()
        known = self.corpus.known_strata(strata) or None
        return draw_pages(self.corpus, seed, strata=known, pages=count, page_bytes=WINDOW_BYTES)

    def row(self, version: Version, draw: int) -> NDArray[np.int32]:
        """What a version says of a draw's events, int32 [M], in 1/1024 bit. A version of a peer is scored once in all
        runs, another one once in this run."""
        key = (version.name, draw)
        if key not in self._rows:
            kept = self.kept / "rows" / f"{version.name}@{draw}.npy"
            if kept.exists():
                self._rows[key] = np.load(kept)
            else:
                self._rows[key] = quantise(score(version.says, self.windows(draw).text_WT)).ravel()
                if version.name.startswith("peer-"):
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    np.save(kept, self._rows[key])
        return self._rows[key]

    def model(self, peer: int, epoch: int) -> PreTrainedModel:
        """A peer's model as it publishes it for an epoch: after as many rounds of training."""
        name = version_name(self.settings.peers[peer], epoch)
        if name not in self.models:
            self.train(peer)
        return self.models[name]

    def version(self, peer: int, epoch: int) -> Version:
        """A peer's version of an epoch."""
        return Version(version_name(self.settings.peers[peer], epoch), speak(self.model(peer, epoch)))

    def train(self, peer: int) -> None:
        """All versions of a peer, from the disk where its last one is there, else by training."""
        of = self.settings.peers[peer]
        names = [version_name(of, epoch) for epoch in range(1, self.settings.epochs + 1)]
        if not (self.kept / names[-1]).exists():
            self._train_anew(of, names, 1000 * self.settings.seed + peer)
        self.models.update((name, load_model(self.kept / name)) for name in names)

    def _train_anew(self, of: Peer, names: Sequence[str], seed: int) -> None:
        model, state, steps = build_model(of.architecture, seed), None, 0
        for name in names:
            pages = self.pages(name, self.settings.training.pages, of.strata)
            done = train_steps(model, state, pages, self.settings.training, steps_done=steps)
            state, steps = done.optimizer_state, done.steps_done
            shutil.rmtree(self.kept / name, ignore_errors=True)
            save_model(model, self.kept / name)

    @cached_property
    def kept(self) -> Path:
        """Where what follows from these settings and this text is kept."""
        content: Any = (self.settings, self.corpus.fingerprint)
        return self.folder / hashlib.blake2b(msgspec.msgpack.encode(content), digest_size=8).hexdigest()


def version_name(peer: Peer, epoch: int) -> str:
    """What a peer's version is called."""
    return f"peer-{peer.name}-{epoch}"

"""What members of a cohort may do instead of training: the cheats that are played.

Invariants: a cheat sends a payload that can be read (what cannot be is refused without looking at its values); it
knows everything that is public, and a copyist even what its victim has not shown yet.

Legend: P parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.training_rounds import Sender
from benchmarks.training_world import World
from models.text.corpus import Bytes
from models.train.cohort import OuterSettings
from models.train.compression import accumulate, compress, decode, keep_error
from models.train.layout import Layout, Vector

BEHIND = 3
"""Rounds by which what is stale is behind."""
NOISE = 3e-3
"""Standard deviation of noise: of the order of a true pseudo-gradient."""
SCALE = np.float32(1000.0)


@dataclass
class Public:
    """What everybody knows in a round.

    Attributes:
        thetas: θ at the beginning of every round so far, the present one last.
        payloads: of every round before, by uid.
        victim: what the first member is about to commit.
    """

    thetas: list[Vector] = field(default_factory=list)
    payloads: list[dict[int, bytes]] = field(default_factory=list)
    victim: bytes = b""


@dataclass
class Cheater:
    """A member and what it does. `sender` trains where the cheat needs it.

    Attributes:
        pages: the pages that it was given in a round.
    """

    uid: int
    sender: Sender
    world: World

    @property
    def layout(self) -> Layout:
        """Of the cohort's model."""
        return self.sender.layout

    @property
    def outer(self) -> OuterSettings:
        """The cohort's rules."""
        return self.sender.outer


Cheat = Callable[[Cheater, Public, Bytes, int], bytes]


def still(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """A free rider: it takes no step."""
    return compress(np.zeros(cheater.layout.size, np.float32), cheater.layout, cheater.outer)


def noise(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """Normal noise, as large as a true pseudo-gradient."""
    random = np.random.default_rng((cheater.world.seed, cheater.uid, number))
    drawn_P = random.standard_normal(cheater.layout.size, np.float32) * np.float32(NOISE)
    return compress(drawn_P, cheater.layout, cheater.outer)


def flip(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """It trains as it should, and sends the opposite."""
    return changed(cheater, public.thetas[-1], pages_PT, np.float32(-1.0))


def thousand(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """It trains as it should, and sends a thousand times as much."""
    return changed(cheater, public.thetas[-1], pages_PT, SCALE)


def copy(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """The first member's payload of this very round, committed after it."""
    return public.victim


def replay(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """The first member's payload of `BEHIND` rounds ago, which everybody can read."""
    if len(public.payloads) < BEHIND:
        return still(cheater, public, pages_PT, number)
    return public.payloads[-BEHIND][0]


def stale(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """It trains from θ of `BEHIND` rounds ago, and says that it began at the present one."""
    return cheater.sender.payload(public.thetas[max(0, len(public.thetas) - 1 - BEHIND)], pages_PT)


def pages(cheater: Cheater, public: Public, pages_PT: Bytes, number: int) -> bytes:
    """It trains, round for round, on the few pages that it has at hand."""
    own_PT = cheater.world.other_pages(f"at hand {cheater.uid}", cheater.world.settings.batch)
    return cheater.sender.payload(public.thetas[-1], np.resize(own_PT, pages_PT.shape))


def changed(cheater: Cheater, theta_P: Vector, pages_PT: Bytes, factor: np.float32) -> bytes:
    """An honest update, each value times `factor`."""
    sender = cheater.sender
    accumulated_P = accumulate(sender.error_P, sender.trainer.pseudo_gradient(theta_P, pages_PT), sender.outer)
    honest = compress(accumulated_P, sender.layout, sender.outer)
    sender.error_P = keep_error(accumulated_P, decode(honest, sender.layout, sender.outer))
    return compress(accumulated_P * factor, sender.layout, sender.outer)


CHEATS: dict[str, Cheat] = {
    "still": still,
    "noise": noise,
    "flip": flip,
    "thousand": thousand,
    "copy": copy,
    "pages": pages,
    "stale": stale,
    "replay": replay,
}
MIXES: dict[str, Sequence[str]] = {
    "still, noise, flip": ("still", "noise", "flip"),
    "thousand, copy, pages": ("thousand", "copy", "pages"),
    "stale, replay, noise": ("stale", "replay", "noise"),
    "flip, flip, flip": ("flip", "flip", "flip"),
}

"""The runs of the comparison: what is played, with which rules, and where a finished run is kept.

Invariants: a run's line is kept under everything that it follows from, so that a changed setting is another run and a
table that was cut off goes on.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.training_cheats import MIXES
from benchmarks.training_network import MEMBERS, Weighing, play, play_mean
from benchmarks.training_rounds import in_rounds
from benchmarks.training_world import Settings, World, together
from models.train.cohort import CHUNK, OuterSettings

DILOCO = OuterSettings(rate=0.7, momentum=0.9, senders_floor=0.0, keep=CHUNK, error_decay=0.0)
"""Dense, as published (Douillard et al. 2023)."""
DENSE = OuterSettings(rate=1.0, momentum=0.0, senders_floor=0.0, keep=CHUNK, error_decay=0.0)
"""Dense: the mean of the members' parameters."""
COMPRESSED = OuterSettings()
"""What a network does unless it is told otherwise."""
COHORTS = (4, 8)
SEEDS = (1, 2, 3)


class Job(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        table: `ways`, `tried` or `cheats`. name: its row.
        way: `together` (one gradient a step), `rounds`, `network` (rounds that are weighed) or `mean`.
    """

    table: str
    name: str
    way: str
    members: int
    seed: int
    settings: Settings
    outer: OuterSettings = DENSE
    cheats: tuple[str, ...] = ()
    weighing: Weighing = Weighing()

    def path(self, folder: Path) -> Path:
        """Where its line is kept."""
        digest = hashlib.blake2b(msgspec.msgpack.encode(self), digest_size=6).hexdigest()
        name = "".join(letter if letter.isalnum() else "-" for letter in self.name)
        return folder / self.table / f"{name}-{self.members}-{self.seed}-{digest}.json"

    def play(self, folder: Path) -> dict[str, Any]:
        """Play it."""
        world = World(folder, self.settings, self.seed)
        if self.way == "together":
            return together(world, self.members)
        if self.way == "rounds":
            return in_rounds(world, self.members, self.outer)
        if self.way == "network":
            return play(world, self.cheats, self.outer, self.weighing)
        return play_mean(world, self.cheats, self.outer)

    def line(self, folder: Path) -> dict[str, Any]:
        """Its line, played unless it is at hand; kept as soon as it is there."""
        path = self.path(folder)
        if not path.exists():
            described = {"table": self.table, "name": self.name, "way": self.way, "members": self.members}
            outer = None if self.way == "together" else msgspec.to_builtins(self.outer)
            found = described | {"seed": self.seed, "outer": outer} | self.play(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part")
            aside.write_text(json.dumps(found))
            aside.replace(path)
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept


def ways(settings: Settings) -> Iterator[Job]:
    """The comparison: seed by seed, so that a cut table has whole rows."""
    for seed in SEEDS:
        yield Job("ways", "one machine", "together", 1, seed, settings)
        for members in COHORTS:
            yield Job("ways", "synchronous", "together", members, seed, settings)
            yield Job("ways", "dense DiLoCo", "rounds", members, seed, settings, DILOCO)
            yield Job("ways", "dense mean", "rounds", members, seed, settings, DENSE)
            yield Job("ways", "compressed", "rounds", members, seed, settings, COMPRESSED)


def cheats(settings: Settings) -> Iterator[Job]:
    """Five honest members alone, and with three that cheat, under both rules."""
    for name, acts in {"nobody": (), **MIXES}.items():
        yield Job("cheats", name, "network", MEMBERS, SEEDS[0], settings, COMPRESSED, tuple(acts))
        yield Job("cheats", f"{name}, plain mean", "mean", MEMBERS, SEEDS[0], settings, COMPRESSED, tuple(acts))


def tried(settings: Settings) -> Iterator[Job]:
    """What was tried on a part of the text, with one seed: each row changes one thing."""
    seed = SEEDS[0]
    short = msgspec.structs.replace(settings, tokens=1 << 19, windows=384, curve_windows=64, points=4)

    def rounds(name: str, members: int, outer: OuterSettings = COMPRESSED, **changed: Any) -> Job:
        return Job("tried", name, "rounds", members, seed, msgspec.structs.replace(short, **changed), outer)

    for members in COHORTS:
        yield Job("tried", "synchronous", "together", members, seed, short)
        yield rounds("defaults", members)
        yield rounds("dense: rate 0.7, momentum 0.9", members, DILOCO)
        yield rounds("dense: rate 1, no momentum", members, OuterSettings(rate=1.0, keep=CHUNK))
        for steps in (15, 30):
            yield rounds(f"{steps} steps a round", members, inner_steps=steps)

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
COMPRESSED = OuterSettings(rate=3.0, momentum=0.0, senders_floor=0.25, keep=64, error_decay=0.2)
"""What does best of what was tried, in short rounds."""
PUBLISHED = OuterSettings(rate=1.0, momentum=0.0, senders_floor=1.0, keep=64, error_decay=0.95)
"""The mean of all members, and a long memory (SparseLoCo, arXiv:2508.15706)."""
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
    """What was tried on a third of the text, with one seed: each row changes what it says."""
    short = msgspec.structs.replace(settings, tokens=1 << 19, windows=384, curve_windows=64, points=4)
    for members in reversed(COHORTS):

        def row(name: str, *, steps: int = 0, members: int = members, way: str = "rounds", **outer: Any) -> Job:
            changed = msgspec.structs.replace(short, inner_steps=steps or short.inner_steps)
            return Job("tried", name, way, members, SEEDS[0], changed, msgspec.structs.replace(COMPRESSED, **outer))

        yield row("synchronous", way="together")
        yield row("compressed as above")
        yield from (row(f"rate {rate:g}", rate=rate) for rate in (1.0, 2.0, 4.0))
        yield from (row(f"senders' floor {floor:g}", senders_floor=floor) for floor in (0.0, 0.5, 1.0))
        yield from (row(f"error decay {decay:g}", error_decay=decay) for decay in (0.0, 0.5, 0.95))
        yield row("rate 0.7, Nesterov 0.5", rate=0.7, momentum=0.5)
        yield row("as published: rate 1, floor 1, error decay 0.95", **msgspec.structs.asdict(PUBLISHED))
        yield from (row(f"keep {keep}", keep=keep) for keep in (32, 90, 256))
        yield from (row(f"{steps} steps a round", steps=steps) for steps in (1, 4, 16))
        yield from (row(f"{steps} steps a round, rate 1", steps=steps, rate=1.0) for steps in (4, 16))
        yield row("dense, rate 1", **msgspec.structs.asdict(DENSE))
        yield row("dense, rate 3", **(msgspec.structs.asdict(DENSE) | {"rate": 3.0}))
        yield row("dense, rate 0.7, Nesterov 0.9", **msgspec.structs.asdict(DILOCO))

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
COHORTS = (4, 8)
SEEDS = (1, 2, 3)
TRIED = Path(__file__).parent / "results" / "training_tried.json"


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
    """Five honest members alone, and with three that cheat; with one seed under a plain mean too."""
    for seed in SEEDS:
        for name, acts in {"nobody": (), **MIXES}.items():
            yield Job("cheats", name, "network", MEMBERS, seed, settings, COMPRESSED, tuple(acts))
            if seed == SEEDS[0] and acts:
                yield Job("cheats", f"{name}, plain mean", "mean", MEMBERS, seed, settings, COMPRESSED, tuple(acts))


def tried() -> Iterator[Job]:
    """What the defaults were chosen from, to be played again: rows of `results/training_tried.json`, one seed."""
    for number, row in enumerate(json.loads(TRIED.read_text(encoding="utf-8"))["rows"]):
        changed = {key: row[key] for key in ("tokens", "batch", "learning_rate")}
        settings = Settings(**changed, windows=384, curve_windows=64, points=4, inner_steps=row["inner_steps"] or 1)
        way = "rounds" if row["outer"] else "together"
        outer = msgspec.convert(row["outer"], OuterSettings) if row["outer"] else DENSE
        yield Job("tried", f"row {number}", way, row["members"], SEEDS[0], settings, outer)

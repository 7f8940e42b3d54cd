"""Honest newcomers: they know something, and should be paid what it is worth, whoever clones beside them.

Invariants: a newcomer publishes once, in the epoch ARRIVAL, and was trained on training text only.
"""

from benchmarks.attacks_models import noised, speak, tuned
from benchmarks.attacks_replay import Publication, Standing
from benchmarks.attacks_scenario import (
    ADA,
    FIRST_ATTACKER,
    HONEST,
    Scenario,
    beside_honest,
    identities,
)
from benchmarks.attacks_world import LLAMA, Version, World
from models.host.architectures import build_model
from models.train.local import train_steps

ARRIVAL = 7
IMPROVERS = 6
CLONES = 8
NEWCOMER = FIRST_ATTACKER
"""An honest one has the first uid, its companions follow."""


def newcomers() -> list[Scenario]:
    """Each publishes in the seventh epoch and then no more."""
    return [
        Scenario(
            "late_improvement",
            "honest",
            "a newcomer that trained ada's version on for 300 steps",
            beside_honest(improved, ARRIVAL, ARRIVAL + 1),
            HONEST,
            first=ARRIVAL,
        ),
        Scenario(
            "clones_beside",
            "honest",
            f"the same, and {CLONES} clones of what others published before it in the same epoch",
            beside_honest(improved_among_clones, ARRIVAL, ARRIVAL + 1),
            HONEST,
            first=ARRIVAL,
        ),
        Scenario(
            "small_improvers",
            "honest",
            f"{IMPROVERS} newcomers that trained ada's version on for 40 steps each",
            beside_honest(small_improvers, ARRIVAL, ARRIVAL + 1),
            HONEST,
            identities(IMPROVERS),
            first=ARRIVAL,
        ),
        Scenario(
            "equal_newcomer",
            "honest",
            "a newcomer trained as ada was, from another beginning and on other text",
            beside_honest(equal, ARRIVAL, ARRIVAL + 1),
            HONEST,
            first=ARRIVAL,
        ),
    ]


def improved(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Ada's version of that epoch, trained on for 300 steps."""
    if "improved" not in world.models:
        pages = world.pages("improved", 2400)
        world.models["improved"] = tuned(world.model(ADA, epoch - 1), pages, 1e-3)
    return [Publication(NEWCOMER, Version("improved", speak(world.models["improved"])))]


def improved_among_clones(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """The improvement, after clones of every peer's last version."""
    peers = len(world.settings.peers)
    clones = [
        Publication(
            NEWCOMER + 1 + number,
            Version(f"clone-{number}", speak(noised(world.model(number % peers, epoch - 1), 0.01, number))),
        )
        for number in range(CLONES)
    ]
    return [*clones, *improved(world, epoch, standing)]


def small_improvers(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Each trained ada's last version on for 40 steps, on pages of its own."""
    models = [tuned(world.model(ADA, epoch - 1), world.pages(f"small {n}", 320), 1e-3) for n in range(IMPROVERS)]
    return [
        Publication(NEWCOMER + number, Version(f"small-{number}", speak(model))) for number, model in enumerate(models)
    ]


def equal(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """As many steps as ada has taken by then."""
    model, state, steps = build_model(LLAMA, 800), None, 0
    for before in range(1, epoch + 1):
        pages = world.pages(f"equal {before}", world.settings.training.pages)
        done = train_steps(model, state, pages, world.settings.training, steps_done=steps)
        state, steps = done.optimizer_state, done.steps_done
    return [Publication(NEWCOMER, Version("equal", speak(model)))]

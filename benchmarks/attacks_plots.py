"""Attackers that do know something, and look for a way to be paid more for it; and saboteurs, squatters, clones.

Invariants: a plot is compared with the same peer's honest conduct in the same epochs.
"""

import numpy as np

from benchmarks.attacks_models import between, constant, pairs_of_bytes, sharded, speak, tuned
from benchmarks.attacks_replay import Plan, Publication, Rows, Standing
from benchmarks.attacks_scenario import (
    ADA,
    CODER,
    FIRST_ATTACKER,
    HONEST,
    Scenario,
    beside_honest,
    crowd,
    honest,
    identities,
    one,
)
from benchmarks.attacks_world import LLAMA, Version, World
from models.host.architectures import build_model
from models.value.round import UNITS_PER_BIT

HOLD = 4
"""Epochs for which news is held back."""
SLICES = 4
TURN = 5
"""The epoch in which a peer that was honest begins to plot."""
ABSURD_BITS = -100
"""Log2-probability that a saboteur answers for every byte."""


def plots() -> list[Scenario]:
    """Peers that are paid, and try to be paid more."""
    return [
        Scenario(
            "held_back",
            "plot",
            f"ada publishes in every {HOLD}th epoch only",
            beside_honest(held_back, 1, absent=(ADA,)),
            HONEST,
            (ADA,),
        ),
        Scenario(
            "slices_in_time",
            "plot",
            "ada holds a version back and publishes the way to it in three slices",
            beside_honest(slices_in_time, 1, absent=(ADA,)),
            HONEST,
            (ADA,),
        ),
        Scenario(
            "slices_at_once",
            "plot",
            "ada publishes each step as four slices under four identities",
            beside_honest(slices_at_once, 2),
            HONEST,
            (ADA, *identities(SLICES - 1)),
        ),
        Scenario(
            "shards",
            "plot",
            "ada's step split among four identities by the last byte",
            beside_honest(shards, 2, absent=(ADA,)),
            HONEST,
            (ADA, *identities(SLICES - 1)),
        ),
        Scenario(
            "random_for_good",
            "plot",
            "coder swaps its good model for random ones, against staying silent",
            beside_honest(random_coder, TURN, absent=(CODER,)),
            beside_honest(nobody, TURN, absent=(CODER,)),
            (CODER,),
            first=TURN,
        ),
        Scenario(
            "good_for_random",
            "copy",
            "random models, from the fifth epoch on copies of ada's last version",
            beside_honest(one(good_for_random)),
            HONEST,
        ),
        Scenario(
            "saboteur",
            "copy",
            "answers 2^-100 for every byte that comes",
            beside_honest(one(absurd)),
            HONEST,
        ),
    ]


def nobody(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Nothing is published."""
    return []


def held_back(world: World, epoch: int, standing: Standing) -> list[Publication]:
    return [] if epoch % HOLD else [Publication(ADA, world.version(ADA, epoch))]


def slices_in_time(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Versions 1, 4, 7, …: the way from one to the next is published in the epochs from the latter on."""
    if epoch < HOLD:
        return [Publication(ADA, world.version(ADA, 1))] if epoch == 1 else []
    newest = 1 + 3 * ((epoch - 1) // 3)
    part = (epoch - newest + 1) / 3
    if part == 1:
        return [Publication(ADA, world.version(ADA, newest))]
    model = between(world.model(ADA, newest - 3), world.model(ADA, newest), part)
    return [Publication(ADA, Version(f"slice-in-time-{epoch}", speak(model)))]


def slices_at_once(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """The way from ada's last version to its new one, each slice under an identity of its own."""
    models = [
        between(world.model(ADA, epoch - 1), world.model(ADA, epoch), (number + 1) / SLICES)
        for number in range(SLICES - 1)
    ]
    return [
        Publication(FIRST_ATTACKER + number, Version(f"slice-{number}-{epoch}", speak(model)))
        for number, model in enumerate(models)
    ]


def shards(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Ada's step, told by each identity for its part of the last bytes only."""
    new, old = speak(world.model(ADA, epoch)), speak(world.model(ADA, epoch - 1))
    return [
        Publication(uid, Version(f"shard-{number}-{epoch}", sharded(new, old, number, SLICES)))
        for number, uid in enumerate((ADA, *identities(SLICES - 1)))
    ]


def untrained(world: World, tag: str, seed: int) -> Version:
    """A model with fresh weights."""
    return Version(f"untrained-{tag}-{seed}", speak(build_model(LLAMA, seed)))


def random_coder(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Coder with fresh weights each epoch."""
    return [Publication(CODER, untrained(world, "coder", 500 + epoch))]


def good_for_random(world: World, epoch: int, standing: Standing) -> Version:
    """Fresh weights until the turn, then ada's last version."""
    if epoch < TURN:
        return untrained(world, "placeholder", 600 + epoch)
    return Version(f"placeholder-{epoch}", speak(world.model(ADA, epoch - 1)))


def absurd(world: World, epoch: int, standing: Standing) -> Version:
    """So few bits for every byte that comes."""
    return Version(f"absurd-{epoch}", constant(np.full(256, ABSURD_BITS * np.log(2))))


def absurd_members(world: World, epoch: int, member: Publication, row_M: Rows) -> Rows:
    """The host of ada's versions says absurd things of those in the collective, from the fifth epoch on."""
    return np.full_like(row_M, ABSURD_BITS * UNITS_PER_BIT) if member.uid == ADA and epoch >= TURN else row_M


def accomplice(world: World, epoch: int, number: int) -> Version:
    """Ada's last version under another name."""
    return Version(f"accomplice-{epoch}", speak(world.model(ADA, epoch - 1)))


def limits() -> list[Scenario]:
    """What the rule is known to pay."""
    squat = Plan(beside_honest(one(squatter), 0, until=1).publish, first=0)
    return [
        Scenario(
            "saboteur_of_members",
            "limit",
            "a host answers absurdly for ada's versions in the collective; ada and an accomplice bring them again",
            Plan(beside_honest(crowd(1, accomplice), TURN).publish, answer=absurd_members),
            HONEST,
            (ADA, FIRST_ATTACKER),
            first=TURN,
        ),
        Scenario("squatter", "limit", "a weak model in an epoch before everybody else", squat, HONEST, first=1),
        Scenario(
            "squatter_with_commons",
            "limit",
            "the same where the frequencies of pairs of bytes are common",
            Plan(squat.publish, first=0, commons=commons),
            Plan(honest, commons=commons),
            first=1,
        ),
    ]


def commons(world: World) -> list[Version]:
    """A public model that everybody has from the beginning."""
    return [Version("commons", pairs_of_bytes(world.pages("commons", 8000)))]


def squatter(world: World, epoch: int, standing: Standing) -> Version:
    """Thirty steps."""
    return Version("squatter", speak(tuned(build_model(LLAMA, 700), world.pages("squatter", 240), 3e-3)))

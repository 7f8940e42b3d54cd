"""Attackers that know nothing of their own: they publish what others published the epoch before, changed a little.

Invariants: every answer comes from changed weights, or from another way to answer with a victim's; nothing is made up.
"""

from collections.abc import Callable

from benchmarks.attacks_models import (
    Speaker,
    distilled,
    fit_temperature,
    noised,
    permuted,
    quantised,
    speak,
    tempered,
    truncated,
    tuned,
)
from benchmarks.attacks_replay import Plan, Standing
from benchmarks.attacks_scenario import (
    ADA,
    CODER,
    HONEST,
    Scenario,
    beside_honest,
    collective_of,
    crowd,
    honest,
    identities,
    one,
)
from benchmarks.attacks_world import Version, World

STALE = 3
"""Epochs between a version and its copy where the copy is of an old one."""
PARTS = 4
"""Parts of each stratum where strata are small: 144 windows then lie in 16 strata, nine in each."""
Change = Callable[[World, int], Speaker]


def made(name: str, what: str, make: Callable[[World, int, Standing], Version]) -> Scenario:
    """One identity that publishes in every epoch what it makes of what can be read."""
    return Scenario(name, "copy", what, beside_honest(one(make)), HONEST)


def single(name: str, what: str, change: Change) -> Scenario:
    """One identity that publishes a changed version in every epoch."""
    return made(name, what, lambda world, epoch, standing: Version(f"{name}-{epoch}", change(world, epoch)))


def many(name: str, what: str, size: int, change: Callable[[World, int, int], Speaker]) -> Scenario:
    """Several identities that publish a changed version each in every epoch."""
    others = crowd(size, lambda world, epoch, number: Version(f"{name}-{number}-{epoch}", change(world, epoch, number)))
    return Scenario(name, "copy", what, beside_honest(others), HONEST, identities(size))


def copies() -> list[Scenario]:
    """Copies of the last version of ada, the best single model, unless another is named."""
    return [
        single("exact", "the last version as it is", lambda world, epoch: speak(world.model(ADA, epoch - 1))),
        many(
            "exact_of_all",
            "the last versions of all six peers as they are, also those that were not admitted",
            6,
            lambda world, epoch, number: speak(world.model(number, epoch - 1)),
        ),
        single(
            "noised",
            "weights with 2 % noise",
            lambda world, epoch: speak(noised(world.model(ADA, epoch - 1), 0.02, epoch)),
        ),
        noised_16(),
        small_strata(),
        single("temperature", "at the temperature that suits training text best", retempered),
        single("truncated", "only the 16 most probable bytes", lambda world, epoch: truncated(last(world, epoch), 16)),
        single(
            "quantised",
            "4 bits a weight",
            lambda world, epoch: speak(quantised(world.model(ADA, epoch - 1), 4)),
        ),
        single(
            "permuted",
            "hidden units in another order",
            lambda world, epoch: speak(permuted(world.model(ADA, epoch - 1), epoch)),
        ),
        single("tuned", "ten further steps on training text", lightly_tuned),
        made("ensemble", "the collective's heaviest members, mixed and sharpened", sharpened),
        made("student", "a model distilled from the collective, epoch by epoch", student),
        stale(),
    ]


def last(world: World, epoch: int) -> Speaker:
    """Ada's last version."""
    return speak(world.model(ADA, epoch - 1))


def retempered(world: World, epoch: int) -> Speaker:
    """Ada's last version at the temperature that suits training text best."""
    says = last(world, epoch)
    return tempered(says, fit_temperature(says, world.pages(f"temperature {epoch}", 32)))


def lightly_tuned(world: World, epoch: int) -> Speaker:
    """Ada's last version after ten further steps."""
    return speak(tuned(world.model(ADA, epoch - 1), world.pages(f"tuned {epoch}", 80), 5e-4))


def sharpened(world: World, epoch: int, standing: Standing) -> Version:
    """The collective's heaviest members, mixed, at the temperature that suits training text best."""
    mixture = collective_of(standing)
    heat = fit_temperature(mixture, world.pages(f"sharpened {epoch}", 32))
    return Version(f"ensemble-{epoch}", tempered(mixture, heat))


def student(world: World, epoch: int, standing: Standing) -> Version:
    """It starts from ada's version and goes on from its own, towards the collective on training text."""
    before = world.models.get(f"student-{epoch - 1}", world.model(ADA, epoch - 1))
    pages = world.pages(f"student {epoch}", 120)
    model = world.models[f"student-{epoch}"] = distilled(before, collective_of(standing), pages, 1e-3)
    return Version(f"student-{epoch}", speak(model))


def stale() -> Scenario:
    """Two identities: old versions of the best single model and of the best paid peer."""
    others = crowd(
        2,
        lambda world, epoch, number: Version(
            f"stale-{number}-{epoch}", world.version((ADA, CODER)[number], epoch - STALE).says
        ),
    )
    what = f"versions of two peers that are {STALE} epochs old"
    return Scenario(
        "stale", "copy", what, beside_honest(others, first=1 + STALE), HONEST, identities(2), first=1 + STALE
    )


def noised_16() -> Scenario:
    """Sixteen identities, each with noise of its own in every epoch."""
    return many(
        "noised_16",
        "16 identities, weights with 5 % noise, each its own",
        16,
        lambda world, epoch, number: speak(noised(world.model(ADA, epoch - 1), 0.05, 100 * epoch + number)),
    )


def small_strata() -> Scenario:
    """The same where each stratum has 1,152 events: little to tell luck from knowledge."""
    noise = noised_16()
    what = "the same where 16 strata have nine windows each"
    plan = Plan(noise.plan.publish, strata_parts=PARTS)
    return Scenario("small_strata", "copy", what, plan, Plan(honest, strata_parts=PARTS), noise.actors)

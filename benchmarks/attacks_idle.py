"""A network that has learnt what it can and stands still for hundreds of epochs, while a swarm publishes noise.

Invariants: nothing that the swarm publishes repeats: every epoch's versions have noise of their own, and every epoch
has its own windows. Models are small, so that hundreds of epochs take minutes.
"""

from dataclasses import replace

from benchmarks.attacks_models import noised, speak
from benchmarks.attacks_replay import Plan
from benchmarks.attacks_scenario import Scenario, beside_honest, crowd, honest, identities
from benchmarks.attacks_world import Peer, Settings, Version, World
from models.host.architectures import Architecture
from models.train.settings import TrainSettings

LEARNING = 6
IDLE = 200
SWARM = 4
FEW_WINDOWS = 32
"""4,096 events: too few, as the record shows."""
NOISE = 0.05
SMALL = (
    Peer("ada", Architecture("llama", 48, 1, 4)),
    Peer("emmy", Architecture("gpt_neox", 48, 1, 4)),
    Peer("coder", Architecture("qwen2", 48, 1, 4), ("code", "tests")),
)


def idle_settings(seed: int, windows: int) -> Settings:
    """Three small peers that learn for six epochs."""
    return Settings(epochs=LEARNING, windows=windows, seed=seed, training=TrainSettings(steps=100), peers=SMALL)


def idle_swarm(idle: int = IDLE) -> Scenario:
    """The swarm, in so many epochs without news."""
    swarm, alone = (
        Plan(beside_honest(crowd(SWARM, noise), LEARNING + 1).publish, last=LEARNING + idle),
        Plan(honest, last=LEARNING + idle),
    )
    what = f"{SWARM} identities with fresh noise in each of {idle} epochs without news"
    return Scenario("idle_swarm", "copy", what, swarm, alone, identities(SWARM), first=LEARNING + 1)


def idle_swarm_few_events(idle: int = IDLE) -> Scenario:
    """The same where a validator draws 4,096 events."""
    same = idle_swarm(idle)
    return replace(same, name="idle_swarm_few_events", kind="limit", what="the same where an epoch has 4,096 events")


def noise(world: World, epoch: int, number: int) -> Version:
    """A noised copy of one of the last versions."""
    model = noised(world.model(number % len(SMALL), LEARNING), NOISE, 100 * epoch + number)
    return Version(f"swarm-{number}-{epoch}", speak(model))

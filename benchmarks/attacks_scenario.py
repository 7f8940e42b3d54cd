"""What a scenario is, and the words that all of them use.

Invariants: uids below the number of honest peers are theirs, attackers' begin at FIRST_ATTACKER; attackers' versions
come first in order of publication, which suits them best.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.attacks_models import Speaker, mixed
from benchmarks.attacks_replay import Plan, Publication, Standing
from benchmarks.attacks_world import Version, World

FIRST_ATTACKER = 100
ADA, GRACE, EMMY, CODER, SCRIBE, TABULA = range(6)
TEACHERS = 6
"""Members whose mixture an attacker takes for the collective: the heaviest, with nine tenths of its weight or more."""

Others = Callable[[World, int, Standing], Sequence[Publication]]
Kind = Literal["copy", "plot", "honest", "limit"]
"""copy: knows nothing of its own and should get nothing. plot: a peer that should get no more than by honest conduct.
honest: should get its share of the new bits. limit: something the rule is known to pay, shown for its size."""


@dataclass(frozen=True)
class Scenario:
    """A plan, the same network without it, and whose pay is looked at from which epoch on."""

    name: str
    kind: Kind
    what: str
    plan: Plan
    without: Plan
    actors: tuple[int, ...] = (FIRST_ATTACKER,)
    first: int = 2


def honest(world: World, epoch: int, standing: Standing) -> list[Publication]:
    """Every peer publishes what it has trained, in every epoch in which it trains."""
    if not 0 < epoch <= world.settings.epochs:
        return []
    return [Publication(uid, world.version(uid, epoch)) for uid in range(len(world.settings.peers))]


HONEST = Plan(honest)


def beside_honest(others: Others, first: int = 2, until: int = 10**6, absent: tuple[int, ...] = ()) -> Plan:
    """Others publish from an epoch on, before the honest peers; `absent` peers publish nothing of their own then."""

    def publish(world: World, epoch: int, standing: Standing) -> list[Publication]:
        if not first <= epoch < until:
            return honest(world, epoch, standing)
        peers = [one for one in honest(world, epoch, standing) if one.uid not in absent]
        return [*others(world, epoch, standing), *peers]

    return Plan(publish)


def one(make: Callable[[World, int, Standing], Version]) -> Others:
    """A single attacker's version."""
    return lambda world, epoch, standing: [Publication(FIRST_ATTACKER, make(world, epoch, standing))]


def crowd(size: int, make: Callable[[World, int, int], Version]) -> Others:
    """The versions of `size` identities; the third argument is the identity's number."""
    return lambda world, epoch, standing: [
        Publication(FIRST_ATTACKER + number, make(world, epoch, number)) for number in range(size)
    ]


def identities(size: int) -> tuple[int, ...]:
    """Uids of so many attackers."""
    return tuple(range(FIRST_ATTACKER, FIRST_ATTACKER + size))


def collective_of(standing: Standing) -> Speaker:
    """The mixture of the collective's heaviest members, as anybody can read it off the ledger."""
    heaviest = sorted(zip(standing.weights, standing.members, strict=True), key=lambda pair: -pair[0])[:TEACHERS]
    total = sum(weight for weight, _ in heaviest)
    return mixed([member.version.says for _, member in heaviest], [weight / total for weight, _ in heaviest])

"""Synthetic peers: what each hosts, how good it is, and what is wrong with a few of them.

Invariants: the same size and seed give the same peers; what is wrong with a peer does not depend on how good it is, so
that pay can be compared between peers that differ in nothing else.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from cluster.place.plan import Wanted
from ledger.keys import Keypair

PARAMETERS = 869_504
"""Of most versions: the recorded model's; the others are twice and four times as large."""
SHAPES = 8
BYTES_A_PARAMETER = 4


class Temper(StrEnum):
    """What a peer's version does when it is asked."""

    SOUND = "sound"
    SLOW = "slow"
    """Takes ten times as long as others of its size."""
    HANGING = "hanging"
    """Does not answer."""
    POISON = "poison"
    """Kills the process that asks it, each time."""
    BROKEN = "broken"
    """Raises an error."""


SHARES = {Temper.SLOW: 0.02, Temper.HANGING: 0.002, Temper.POISON: 0.005, Temper.BROKEN: 0.005}
"""Of all peers; the rest is sound."""
SLOW = 10


@dataclass(frozen=True)
class Peer:
    """A peer: its key, its model's shape and size, what it brings to the collective, and its temper.

    `bits`: what its version adds, bits per byte, before a validator's own draw of text moves it.
    """

    name: str
    keypair: Keypair
    shape: int
    parameters: int
    bits: float
    temper: Temper

    def version(self, epoch: int) -> bytes:
        """The manifest of what it publishes in an epoch."""
        return hashlib.blake2b(self.keypair.public + epoch.to_bytes(8, "big"), digest_size=32).digest()

    def wanted(self, version: bytes) -> Wanted:
        """As the plan of hosts takes it."""
        signature = bytes([self.shape])
        return Wanted(version, signature, self.parameters, BYTES_A_PARAMETER * self.parameters)


def keypair_of(name: str) -> Keypair:
    """A key for whoever has this name."""
    return Keypair.from_seed(hashlib.blake2b(name.encode(), digest_size=32).digest())


def make_peers(count: int, random: Random, first: int = 0) -> list[Peer]:
    """So many peers; each temper has its share of them, one at least where there are a hundred."""
    tempers = [temper for temper, share in SHARES.items() for _ in range(round(count * share) or int(count >= 100))]
    tempers += [Temper.SOUND] * (count - len(tempers))
    random.shuffle(tempers)
    made = []
    for index, temper in enumerate(tempers, start=first):
        name = f"peer-{index}"
        shape = random.randrange(SHAPES)
        parameters = PARAMETERS * (1 << max(0, shape - SHAPES + 3))
        bits = random.lognormvariate(0.0, 1.0) * 1e-4
        made.append(Peer(name, keypair_of(name), shape, parameters, bits, temper))
    return made

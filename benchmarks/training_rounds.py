"""Rounds of a cohort without cheats, as its members take them: dense or compressed, with the network's own code.

Invariants: θ after a round comes from the payloads alone; a payload's length is what is counted as sent.

Legend: P parameters.
"""

from typing import Any

from benchmarks.training_world import Curve, Trainer, World, begin, measured_after
from models.train.cohort import OuterSettings
from models.train.compression import accumulate, compress, decode, keep_error
from models.train.layout import Layout, Vector
from models.train.round import next_parameters


def in_rounds(world: World, members: int, outer: OuterSettings) -> dict[str, Any]:
    """A run of a cohort whose members are all honest."""
    settings = world.settings
    model, layout, theta_P = begin(world)
    senders = [Sender(Trainer(world, model, members), layout, outer) for _ in range(members)]
    curve, momentum_P, sent = Curve.begin(world, model), None, 0
    rounds = settings.rounds(members)
    tokens_of_a_round = members * settings.inner_steps * settings.batch * (settings.page_bytes - 1)
    measured = measured_after(rounds, settings.points)
    for number in range(rounds):
        payloads = {
            member: sender.payload(theta_P, world.pages_of(member, members, number))
            for member, sender in enumerate(senders)
        }
        sent += len(payloads[0])
        theta_P, momentum_P = next_parameters(theta_P, layout, payloads, outer, momentum_P)
        if number + 1 in measured:
            curve.add_vector((number + 1) * tokens_of_a_round, theta_P)
    return curve.end(rounds * tokens_of_a_round, sent, exchanges=rounds, parameters=layout.size)


class Sender:
    """A member: it trains, adds what it could not send before, compresses, and keeps what it could not send now."""

    def __init__(self, trainer: Trainer, layout: Layout, outer: OuterSettings) -> None:
        self.trainer = trainer
        self.layout = layout
        self.outer = outer
        self.error_P: Vector | None = None

    def payload(self, theta_P: Vector, pages_PT: Any) -> bytes:
        """What it sends in a round that begins at `theta_P`."""
        accumulated_P = accumulate(self.error_P, self.trainer.pseudo_gradient(theta_P, pages_PT), self.outer)
        payload = compress(accumulated_P, self.layout, self.outer)
        self.error_P = keep_error(accumulated_P, decode(payload, self.layout, self.outer))
        return payload

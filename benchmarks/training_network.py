"""A cohort with cheats, by the network's own rules: three validators weigh each round, the ledger's rule accepts.

Invariants: members, validators and the ledger are the functions that a network runs; a validator has held-out windows
of its own in each round; honest members read the same pages whoever else is there. Beside it the same cohort under a
plain mean: every payload that can be read counts, as it is.

Legend: P parameters.
"""

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from transformers import PreTrainedModel

from benchmarks.training_cheats import CHEATS, Cheater, Public
from benchmarks.training_rounds import Sender
from benchmarks.training_world import Curve, Trainer, World, begin, measured_after
from ledger.entries import Cohort
from ledger.epoch.cohorts import compute_round
from ledger.extrinsics import RoundVote, UpdateValue
from models.errors import TrainingError
from models.text.corpus import Bytes
from models.train.cohort import OuterSettings
from models.train.compression import decode, payload_hash
from models.train.layout import Layout, Vector, hash_vector
from models.train.round import Check, Committed, Round, next_parameters, weigh_round

MEMBERS = 8
NANO = 1e9
COHORT = hashlib.blake2b(b"cohort", digest_size=32).digest()
MANIFEST = hashlib.blake2b(b"manifest", digest_size=32).digest()


class Weighing(msgspec.Struct, frozen=True):
    """How a round is weighed: by how many validators, each on how many windows, at how many points of the path."""

    validators: int = 3
    windows: int = 24
    nodes: int = 3
    check_pages: int = 32


@dataclass
class Members:
    """The eight: uids 0 to 4 are honest, 5 to 7 cheat, or are not there."""

    world: World
    senders: dict[int, Sender]
    cheats: dict[int, str]
    public: Public = field(default_factory=Public)

    @classmethod
    def begin(
        cls, world: World, model: PreTrainedModel, layout: Layout, outer: OuterSettings, cheats: tuple[str, ...]
    ) -> "Members":
        """Members at the beginning; `cheats` are what the last of them do."""
        first = MEMBERS - 3
        acts = {first + place: name for place, name in enumerate(cheats)}
        uids = [*range(first), *acts]
        return cls(world, {uid: Sender(Trainer(world, model, MEMBERS), layout, outer) for uid in uids}, acts)

    def pages(self, uid: int, number: int) -> Bytes:
        """What a member is to train on."""
        return self.world.pages_of(uid, MEMBERS, number)

    def contribute(self, theta_P: Vector, number: int) -> dict[int, bytes]:
        """All payloads of a round, in the order in which they are committed."""
        self.public.thetas.append(theta_P)
        payloads: dict[int, bytes] = {}
        for uid, sender in self.senders.items():
            pages_PT = self.pages(uid, number)
            if uid in self.cheats:
                cheater = Cheater(uid, sender, self.world)
                payloads[uid] = CHEATS[self.cheats[uid]](cheater, self.public, pages_PT, number)
            else:
                payloads[uid] = sender.payload(theta_P, pages_PT)
            self.public.victim = payloads[0]
        self.public.payloads.append(payloads)
        return payloads


def play(world: World, cheats: tuple[str, ...], outer: OuterSettings, weighing: Weighing) -> dict[str, Any]:
    """A run under the network's rules: bits per byte, and for each member and round its value, fate and sum."""
    model, layout, theta_P = begin(world)
    members = Members.begin(world, model, layout, outer, cheats)
    curve, rounds = Curve.begin(world, model), world.settings.rounds(MEMBERS)
    measured = measured_after(rounds, world.settings.points)
    row, momentum_P, accepted, history = None, None, {}, []
    for number in range(rounds):
        before_P, before_momentum_P = theta_P, momentum_P
        if accepted:
            theta_P, momentum_P = next_parameters(before_P, layout, accepted, outer, before_momentum_P)
        payloads = members.contribute(theta_P, number)
        parameters = hash_vector(theta_P, layout)
        committed = [Committed(uid, parameters, payload_hash(payload)) for uid, payload in payloads.items()]
        round_ = Round(before_P, accepted, committed, payloads, before_momentum_P)
        votes, refused = [], {}
        for validator in range(weighing.validators):
            check = draw_check(world, members, number, validator, weighing)
            weighed = weigh_round(model, layout, round_, check, outer)
            votes.append((1, vote_of(weighed)))
            refused = {uid: refusal.code for uid, refusal in weighed.refused.items()}
        hashes = {uid: (parameters, payload_hash(payload)) for uid, payload in payloads.items()}
        row = compute_round(votes, row, hashes, number)
        if row is None:
            raise RuntimeError(f"the validators did not agree in round {number}")
        accepted = {each.uid: payloads[each.uid] for each in row.accepted}
        history.append(line_of_round(row, [vote for _, vote in votes], refused))
        if number + 1 in measured:
            after_P, _ = next_parameters(theta_P, layout, accepted, outer, momentum_P)
            curve.add_vector((number + 1) * tokens_of_a_round(world), after_P)
    return curve.end(rounds * tokens_of_a_round(world), 0, history=history, cheats=members.cheats)


def draw_check(world: World, members: Members, number: int, validator: int, weighing: Weighing) -> Check:
    """What a validator weighs a round on: its own windows, some of each member's pages, and pages of nobody."""
    windows = world.windows(f"validator {validator} round {number}", weighing.windows)
    random = np.random.default_rng((world.seed, number, validator))
    rows = random.permutation(world.settings.inner_steps * world.settings.batch)[: weighing.check_pages]
    pages = {uid: members.pages(uid, number)[rows] for uid in members.senders}
    others_PT = world.other_pages(f"nobody's {validator} {number}", weighing.check_pages)
    return Check(windows.text_WT, windows.document_W, pages, others_PT, weighing.nodes)


def vote_of(weighed: Any) -> RoundVote:
    """What a validator says of a round."""
    return RoundVote(
        cohort=COHORT,
        parameters=weighed.parameters,
        manifest=MANIFEST,
        values=in_nano_bits(weighed.values),
        applied=in_nano_bits(weighed.applied_values),
    )


def in_nano_bits(values: dict[int, float]) -> tuple[UpdateValue, ...]:
    """Values as they stand on the ledger."""
    return tuple(UpdateValue(uid=uid, value=math.floor(value * NANO)) for uid, value in sorted(values.items()))


def line_of_round(row: Cohort, votes: list[RoundVote], refused: dict[int, str]) -> dict[str, Any]:
    """A round for the record: values by validator, in 10^-9 bits per byte."""
    uids = sorted({each.uid for vote in votes for each in vote.values})
    said = [{each.uid: each.value for each in vote.values} for vote in votes]
    return {
        "values": {uid: [values.get(uid, 0) for values in said] for uid in uids},
        "accepted": [each.uid for each in row.accepted],
        "refused": refused,
        "sums": {each.uid: each.value for each in row.sums},
    }


def play_mean(world: World, cheats: tuple[str, ...], outer: OuterSettings) -> dict[str, Any]:
    """The same members under a plain mean: nobody weighs, nobody is refused, nothing is clipped."""
    model, layout, theta_P = begin(world)
    members = Members.begin(world, model, layout, outer, cheats)
    curve, rounds = Curve.begin(world, model), world.settings.rounds(MEMBERS)
    measured = measured_after(rounds, world.settings.points)
    for number in range(rounds):
        try:
            payloads = members.contribute(theta_P, number)
        except TrainingError:
            return curve.end(number * tokens_of_a_round(world), 0, diverged=number, cheats=members.cheats)
        theta_P = theta_P - np.float32(outer.rate) * mean_of(payloads, layout, outer)
        if number + 1 in measured:
            curve.add_vector((number + 1) * tokens_of_a_round(world), theta_P)
    return curve.end(rounds * tokens_of_a_round(world), 0, diverged=None, cheats=members.cheats)


def mean_of(payloads: dict[int, bytes], layout: Layout, outer: OuterSettings) -> Vector:
    """Of every coordinate, the mean of what was sent for it."""
    sum_P, senders_P = np.zeros(layout.size, np.float32), np.zeros(layout.size, np.float32)
    for payload in payloads.values():
        update = decode(payload, layout, outer)
        where = slice(None) if update.position_N is None else update.position_N
        sum_P[where] += update.value_N
        senders_P[where] += 1
    return sum_P / np.maximum(senders_P, np.float32(1.0))


def tokens_of_a_round(world: World) -> int:
    """Bytes that the five honest members predict in a round."""
    settings = world.settings
    return (MEMBERS - 3) * settings.inner_steps * settings.batch * (settings.page_bytes - 1)

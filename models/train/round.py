"""One round of a cohort, from bytes to values: θ of the round, who is refused and why, what each update is worth.

Invariants: members, those who weigh, and benchmarks take the step of a round by `next_parameters` alone, so all have
the same θ; a payload that is refused has value 0 and no part in the joint step; what is refused does not depend on the
order of a mapping, only on the order in which hashes were committed.

Legend: P parameters, W held-out windows of T bytes, K pages of T bytes.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import UpdateRefused
from models.train.cohort import OuterSettings
from models.train.compression import decode, payload_hash
from models.train.layout import Layout, Vector, hash_vector
from models.train.page_gain import PageGain, page_gains
from models.train.step import Step, apply_step, joint_step, near_copies
from models.train.update import Update
from models.train.update_value import BATCH, Text, UpdateValues, value_step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST_NORM = 10.0
"""Of the median norm: members who train alike differ by far less, and who scales an update is not paid for it."""


@dataclass(frozen=True)
class Committed:
    """What a member committed to before payloads could be read: where it began, and the hash of its payload."""

    uid: int
    parameters: bytes
    payload: bytes


@dataclass(frozen=True)
class Round:
    """What is known of a round.

    Attributes:
        theta_P: parameters of the ledger's row, before the accepted payloads.
        accepted: payloads that the last close block accepted, by uid.
        committed: of this round, in the order of the open block.
        payloads: of this round, by uid; those that were not found are absent.
        momentum_P: the momentum that belongs to `theta_P`.
    """

    theta_P: Vector
    accepted: Mapping[int, bytes]
    committed: Sequence[Committed]
    payloads: Mapping[int, bytes]
    momentum_P: Vector | None = None


@dataclass(frozen=True)
class Check:
    """What a validator weighs a round on.

    Attributes:
        text_WT: its held-out windows.
        groups_W: what each window belongs to (its document).
        pages: pages that each uid was to train on, uint8 [K, T], as many for each.
        random_KT: as many training pages that nobody was to train on; without any, traces are not looked for.
        nodes: points of the quadrature.
        batch: windows of one gradient.
    """

    text_WT: Text
    groups_W: NDArray[np.integer]
    pages: Mapping[int, Text]
    random_KT: Text
    nodes: int = 5
    batch: int = BATCH


@dataclass(frozen=True)
class Weighed:
    """A round, weighed.

    Attributes:
        parameters: hash of θ, the parameters that the round begins with.
        theta_P: θ.
        momentum_P: the momentum that belongs to θ.
        refused: why, by uid.
        first: values along the path to the joint step of all who are not refused; None where nobody is.
        applied: values of the accepted updates along the path that led to θ; None in the first round.
        gains: the trace of its pages in every update that was valued or refused for it.
    """

    parameters: bytes
    theta_P: Vector
    momentum_P: Vector | None
    refused: dict[int, UpdateRefused]
    first: UpdateValues | None
    applied: UpdateValues | None
    gains: dict[int, PageGain]

    @property
    def values(self) -> dict[int, float]:
        """The first value of everybody who committed, bits per byte; 0 for who is refused."""
        return {**dict.fromkeys(self.refused, 0.0), **known(self.first)}

    @property
    def applied_values(self) -> dict[int, float]:
        """The value over the accepted path of everybody who was accepted, bits per byte."""
        return known(self.applied)

    @property
    def path_bits(self) -> float:
        """What the joint step shortens held-out text by, bits per byte."""
        return 0.0 if self.first is None else self.first.path_bits

    @property
    def measured_bits(self) -> float:
        """The same, measured at both ends."""
        return 0.0 if self.first is None else self.first.measured_bits


def known(found: UpdateValues | None) -> dict[int, float]:
    """Values by uid; 0 for what is no number."""
    values = {} if found is None else found.values()
    return {uid: value if math.isfinite(value) else 0.0 for uid, value in values.items()}


def next_parameters(
    theta_P: Vector,
    layout: Layout,
    payloads: Mapping[int, bytes],
    outer: OuterSettings,
    momentum_P: Vector | None = None,
) -> tuple[Vector, Vector | None]:
    """θ and momentum after the accepted payloads, by uid, whose hashes the caller has checked.

    Nobody accepted: θ as it is. A payload that cannot be read adds nothing, here as everywhere.
    """
    step = accepted_step(theta_P, layout, payloads, outer, momentum_P)
    return (theta_P, momentum_P) if step is None else (apply_step(theta_P, step), step.momentum_P)


def accepted_step(
    theta_P: Vector,
    layout: Layout,
    payloads: Mapping[int, bytes],
    outer: OuterSettings,
    momentum_P: Vector | None,
) -> Step | None:
    """The step that accepted payloads make; None without any."""
    updates = readable(payloads, layout, outer)
    return joint_step(updates, theta_P.size, outer, momentum_P) if updates else None


def readable(payloads: Mapping[int, bytes], layout: Layout, outer: OuterSettings) -> dict[int, Update]:
    """The updates that can be read, by ascending uid."""
    updates: dict[int, Update] = {}
    for uid in sorted(payloads):
        with suppress(UpdateRefused):
            updates[uid] = decode(payloads[uid], layout, outer)
    return updates


def weigh_round(model: "PreTrainedModel", layout: Layout, round: Round, check: Check, outer: OuterSettings) -> Weighed:
    """Weigh a round: see `Round`, `Check` and `Weighed`.

    Args:
        model: of the cohort's architecture, float32, on any device; its parameters are overwritten.
    """
    before_P, after_P, momentum_P = round.theta_P, round.theta_P, round.momentum_P
    applied = None
    taken = accepted_step(before_P, layout, round.accepted, outer, momentum_P)
    if taken is not None:
        after_P, momentum_P = apply_step(before_P, taken), taken.momentum_P
        applied = value_step(
            model, before_P, taken, check.text_WT, check.groups_W, nodes=check.nodes, batch=check.batch
        )
    parameters = hash_vector(after_P, layout)
    updates, refused = read_updates(round, layout, outer, parameters)
    gains: dict[int, PageGain] = {}
    if updates and len(check.random_KT):
        step = joint_step(updates, layout.size, outer, momentum_P)
        gains = page_gains(model, after_P, step, check.pages, check.random_KT)
    for uid in [uid for uid, gain in gains.items() if gain.failed]:
        del updates[uid]
        refused[uid] = UpdateRefused("pages", "the update has no trace of the pages that its sender was to train on")
    first = None
    if updates:
        step = joint_step(updates, layout.size, outer, momentum_P)
        first = value_step(model, after_P, step, check.text_WT, check.groups_W, nodes=check.nodes, batch=check.batch)
    return Weighed(parameters, after_P, momentum_P, refused, first, applied, gains)


def read_updates(
    round: Round, layout: Layout, outer: OuterSettings, parameters: bytes
) -> tuple[dict[int, Update], dict[int, UpdateRefused]]:
    """The updates of a round by uid, without copies, and who is refused.

    Refused are, in this order: what is not there (`missing`), not what was committed to (`hash`), begins elsewhere
    (`stale`), cannot be read (the codec's codes), is 0 (`empty`), is nearly what was committed before or accepted last
    (`copy`), or is far larger than most (`norm`).
    """
    updates: dict[int, Update] = {}
    refused: dict[int, UpdateRefused] = {}
    for committed in round.committed:
        uid = committed.uid
        try:
            updates[uid] = read_update(committed, round.payloads.get(uid), layout, outer, parameters)
        except UpdateRefused as refusal:
            refused[uid] = refusal
    refused.update(refuse_copies(round, updates, readable(round.accepted, layout, outer)))
    refused.update(refuse_norms({uid: update for uid, update in updates.items() if uid not in refused}))
    return {uid: update for uid, update in updates.items() if uid not in refused}, refused


def read_update(
    committed: Committed, payload: bytes | None, layout: Layout, outer: OuterSettings, parameters: bytes
) -> Update:
    """The update that somebody committed to. Raises UpdateRefused."""
    if payload is None:
        raise UpdateRefused("missing", "there is no payload with the hash that was committed to")
    if payload_hash(payload) != committed.payload:
        raise UpdateRefused("hash", "the payload is not what was committed to")
    if committed.parameters != parameters:
        raise UpdateRefused(
            "stale", f"the update begins at {committed.parameters.hex()[:8]}, the round at {parameters.hex()[:8]}"
        )
    update = decode(payload, layout, outer)
    if not update.norm:
        raise UpdateRefused("empty", "the update is 0 everywhere")
    return update


def refuse_copies(
    round: Round, updates: Mapping[int, Update], accepted: Mapping[int, Update]
) -> dict[int, UpdateRefused]:
    """Who sent nearly what was committed before in this round, or accepted in the last one, be it their own."""
    # Those accepted last come before all others, with keys that are no uid.
    earlier = {-1 - uid: update for uid, update in accepted.items()}
    order = [*earlier, *(committed.uid for committed in round.committed if committed.uid in updates)]
    refused: dict[int, UpdateRefused] = {}
    for uid, source in near_copies({**earlier, **updates}, order).items():
        if uid >= 0:
            where = f"what uid {source} committed before" if source >= 0 else f"what uid {-1 - source} sent last round"
            refused[uid] = UpdateRefused("copy", f"the update is nearly {where}")
    return refused


def refuse_norms(updates: Mapping[int, Update]) -> dict[int, UpdateRefused]:
    """Whose update is far larger than the (lower) median one."""
    if not updates:
        return {}
    usual = median_low(update.norm for update in updates.values())
    return {
        uid: UpdateRefused("norm", f"the update is {update.norm / usual:.3g} times as large as the median one")
        for uid, update in updates.items()
        if update.norm > LARGEST_NORM * usual
    }

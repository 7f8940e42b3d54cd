"""Epochs of a network by its own rule: what each peer is paid, and what the collective knows.

One validator is enough: consensus clips each vote to a stake-weighted median, and the rows of honest validators differ
only by their draws of windows, so what one pays on its draw is what many pay, with more noise. Its votes, normalised,
are the epoch's pay. Its collective is carried as the ledger's close block does it: members below 10^-3 in every stratum
are left out, the 64 heaviest stay.

Invariants: nobody is paid but by `models.value.valuation.evaluate`; everybody answers in every epoch.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.attacks_world import Version, World
from models.value.collective import Collective
from models.value.round import BASELINE_UID, Round
from models.value.valuation import evaluate

MEMBER_FLOOR = 1e-3
COLLECTIVE_SIZE = 64
BITS = 1e-9
"""Bits per byte in one unit of the books."""


@dataclass(frozen=True)
class Publication:
    """A version, by the uid that publishes it."""

    uid: int
    version: Version


@dataclass(frozen=True)
class Standing:
    """What everybody can read when an epoch begins: the collective's members and their mean weight over strata."""

    members: tuple[Publication, ...] = ()
    weights: tuple[float, ...] = ()


Rows = NDArray[np.int32]


def as_answered(world: World, epoch: int, member: Publication, row_M: Rows) -> Rows:
    """What a member's host answers: honestly, what its version says."""
    return row_M


@dataclass(frozen=True)
class Plan:
    """What happens in a network.

    publish: all that is published for an epoch, in order of publication. answer: what members' hosts say in place of
    their versions. first, last: its epochs, the last one by default the last in which honest peers train. strata_parts:
    each stratum is cut into so many, by document. commons: public models that stand beside the baseline, unpaid.
    """

    publish: Callable[[World, int, Standing], Sequence[Publication]]
    answer: Callable[[World, int, Publication, Rows], Rows] = as_answered
    first: int = 1
    last: int | None = None
    strata_parts: int = 1
    commons: Callable[[World], Sequence[Version]] = lambda world: ()


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to, bits per byte; `pay` sums to 1, or is empty. `round_` is what was valued, `rows` stand in
    it after the baseline: `members` of the collective, then new versions."""

    pay: Mapping[int, float]
    credits: Mapping[int, float]
    new_bits: Mapping[int, float]
    gain: float
    collective_bits_per_byte: float
    admitted: frozenset[int]
    members: int
    rows: tuple[Publication, ...]
    round_: Round


@dataclass
class Replay:
    """The epochs of a plan, by number."""

    epochs: dict[int, Epoch] = field(default_factory=dict)

    def share(self, uids: Sequence[int], epochs: Sequence[int]) -> float:
        """The part of all pay of these epochs that some uids got."""
        return float(np.mean([sum(self.epochs[epoch].pay.get(uid, 0.0) for uid in uids) for epoch in epochs]))

    def credit(self, uid: int, epochs: Sequence[int]) -> float:
        """Bits per byte that were credited to a uid."""
        return sum(self.epochs[epoch].credits.get(uid, 0.0) for epoch in epochs)


def replay(world: World, plan: Plan) -> Replay:
    """Run a plan from its first epoch to its last."""
    done, accounts = Replay(), dict[int, int]()
    standing = Standing(tuple(Publication(BASELINE_UID, version) for version in plan.commons(world)))
    for epoch in range(plan.first, (plan.last or world.settings.epochs) + 1):
        rows = next_rows(world, epoch, plan, standing)
        round_ = lay_round(world, epoch, plan, rows, len(standing.members))
        valuation = evaluate(round_, accounts, {row.uid for row in rows if row.uid >= 0} | set(accounts))
        books, accounts = valuation.books, valuation.books.accounts
        total = sum(books.votes.values())
        done.epochs[epoch] = Epoch(
            pay={uid: vote / total for uid, vote in books.votes.items()},
            credits={uid: credit * BITS for uid, credit in books.credits.items()},
            new_bits={uid: bits * BITS for uid, bits in books.new_bits.items()},
            gain=valuation.values.gain,
            collective_bits_per_byte=valuation.values.collective_bits_per_byte,
            admitted=frozenset(uid for uid, bits in books.new_bits.items() if bits),
            members=len(standing.members),
            rows=tuple(rows),
            round_=round_,
        )
        standing = next_standing(rows, valuation.collective)
    return done


def next_rows(world: World, epoch: int, plan: Plan, standing: Standing) -> list[Publication]:
    """Members, then what is published and not a member already."""
    known = {member.version.name for member in standing.members}
    new = [one for one in plan.publish(world, epoch, standing) if one.version.name not in known]
    return [*standing.members, *new]


def lay_round(world: World, draw: int, plan: Plan, rows: Sequence[Publication], members: int) -> Round:
    """The table that is valued, on the windows of a draw: the baseline and `rows`, the first of them members."""
    answers = [world.row(row.version, draw) for row in rows]
    answers[:members] = [
        plan.answer(world, draw, *pair) for pair in zip(rows[:members], answers[:members], strict=True)
    ]
    is_member = np.arange(1 + len(rows)) <= members
    return Round(
        matrix_NM=np.stack([world.row(world.baseline, draw), *answers]),
        manifests=(bytes(32), *(hashlib.blake2b(row.version.name.encode(), digest_size=32).digest() for row in rows)),
        uid_N=np.array([BASELINE_UID, *(row.uid for row in rows)], np.int32),
        member_N=is_member,
        new_N=~is_member,
        **event_columns(world, draw, plan.strata_parts),
    )


def event_columns(world: World, draw: int, parts: int) -> dict[str, Any]:
    """The columns of a round that say where its events come from."""
    windows = world.windows(draw)
    width = windows.text_WT.shape[1] - 1
    stratum_W = windows.stratum_W.astype(np.int32) * parts + windows.document_W % parts
    return {
        "stratum_M": np.repeat(stratum_W, width),
        "document_M": np.repeat(windows.document_W, width),
        "fold_M": np.repeat(windows.fold_W, width),
        "bytes_M": np.ones(len(stratum_W) * width, np.int32),
        "strata": tuple(f"{name}{part or ''}" for name in world.corpus.strata for part in range(parts)),
    }


def next_standing(rows: Sequence[Publication], collective: Collective) -> Standing:
    """The members that the close block keeps, the baseline left out; commons stay whatever they weigh."""
    weight_SC = collective.weights_SC / 65535
    kept = [
        (rows[row - 1].uid >= 0, -float(weight_SC[:, column].mean()), rows[row - 1])
        for column, row in enumerate(collective.rows)
        if row and (rows[row - 1].uid < 0 or weight_SC[:, column].max() >= MEMBER_FLOOR)
    ]
    kept = sorted(kept, key=lambda member: member[:2])[:COLLECTIVE_SIZE]
    return Standing(tuple(member for *_, member in kept), tuple(-weight for _, weight, _ in kept))


def true_increment(round_: Round, uids: frozenset[int]) -> float:
    """What the new versions of some uids add out of fold, together, to everything else of the round: bits per byte."""
    theirs_N = round_.new_N & np.isin(round_.uid_N, list(uids))
    return bits_of_mixture(round_, np.flatnonzero(~theirs_N)) - bits_of_mixture(round_, np.arange(theirs_N.size))


def bits_of_mixture(round_: Round, kept: NDArray[np.intp]) -> float:
    """Bits per byte of the best mixture of these rows, out of fold."""
    every = replace(
        round_,
        matrix_NM=round_.matrix_NM[kept],
        manifests=tuple(round_.manifests[row] for row in kept),
        uid_N=round_.uid_N[kept],
        member_N=np.ones(kept.size, bool),
        new_N=np.zeros(kept.size, bool),
        remote_N=np.zeros(kept.size, bool),
    )
    return evaluate(every, {}, ()).values.known_bits_per_byte

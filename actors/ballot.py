"""A validator's ballot: what it found in an epoch and how it votes, kept on its disk before anything is committed.

Invariants:
* one ballot an epoch: a validator that restarts votes as it did before;
* the file holds the salt, so it is readable by its owner only until the reveal makes it public.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ledger.extrinsics import BASELINE_MANIFEST, BASELINE_UID, Member, RoundVote, UpdateValue
from models.value.collective import Collective
from models.value.updates import Weighing


class NoBallot(Exception):
    """A validator is asked about an epoch in which it valued nothing; the sentence names both."""


# The driver holds one for each validator and neuron, and none can be part of a cycle: a collection would walk them all.
class NeuronFinding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a validator found about one neuron. Bits are per byte; None: not measured this epoch.

    Attributes:
        uid: the neuron.
        new_bits, new_bits_se: what its new version brings, or what it adds as a remote peer; 0 if not admitted.
        failure: why it got no value this epoch, as "late|dead|invalid|refused: sentence"; empty if it answered.
        admitted: its new version was admitted, or what it answered as a remote peer.
        looked_up: windows that it predicts above 0.99 per byte where nobody else exceeds 0.5.
    """

    uid: int
    bits_per_byte: float | None = None
    new_bits: float | None = None
    new_bits_se: float | None = None
    account_bits: float | None = None
    share_bits: float | None = None
    admitted: bool = False
    looked_up: int = 0
    failure: str = ""


class ContributionFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a validator found about one member's updates. Bits are per byte; None: not valued.

    Attributes:
        bits, bits_se: of its update of this round, on the way to the step of all of them.
        applied_bits: of its update of the last round, on the way that was taken.
        refusal: why its update is not valued, as "code: sentence"; empty if it is.
    """

    uid: int
    bits: float | None = None
    bits_se: float | None = None
    applied_bits: float | None = None
    refusal: str = ""


class RoundFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a validator found about a cohort's round. Bits are per byte.

    Attributes:
        cohort: its name on the ledger. parameters, manifest: of θ, where the round begins.
        problem: why this validator says nothing of the round; empty if it does.
        path_bits: Σ of the values of all updates of this round. measured_bits: what their step really changes.
    """

    cohort: bytes
    parameters: bytes
    manifest: bytes
    path_bits: float
    measured_bits: float
    contributions: tuple[ContributionFinding, ...]
    problem: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a validator found in an epoch. All figures in bits per byte, out of fold.

    Attributes:
        baseline: p_0. known: q, what the collective and the remote peers knew. collective: p, with the new versions.
        new_bits: G. new_bits_se: its standard error. events: how many. note: what to know of its device.
    """

    baseline: float
    known: float
    collective: float
    new_bits: float
    new_bits_se: float
    events: int
    neurons: tuple[NeuronFinding, ...]
    rounds: tuple[RoundFinding, ...] = ()
    note: str = ""


class Ballot(msgspec.Struct, frozen=True, kw_only=True):
    """A vote before it is revealed. Fields as in the extrinsic that reveals it."""

    epoch: int
    uids: tuple[int, ...]
    values: tuple[int, ...]
    evidence: bytes
    salt: bytes
    seed_signature: bytes
    strata: tuple[str, ...]
    members: tuple[Member, ...]
    finding: Finding
    rounds: tuple[RoundVote, ...] = ()


def save_ballot(path: Path, ballot: Ballot) -> None:
    """Write a ballot, readable by its owner only, so that it survives a crash from here on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(ballot))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def load_ballot(path: Path) -> Ballot | None:
    """The ballot at a path, or None where there is none."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Ballot) if path.exists() else None


def proposed_members(collective: Collective) -> tuple[Member, ...]:
    """The collective as the ledger takes it: by uid, the baseline under its own and an empty manifest."""
    members = (
        Member(
            uid=BASELINE_UID if uid < 0 else uid,
            manifest=BASELINE_MANIFEST if uid < 0 else manifest,
            weights=tuple(int(weight) for weight in collective.weights_SC[:, column]),
        )
        for column, (uid, manifest) in enumerate(zip(collective.uids, collective.manifests, strict=True))
    )
    return tuple(sorted(members, key=lambda member: (member.uid, member.manifest)))


def round_votes(weighings: Sequence[Weighing]) -> tuple[RoundVote, ...]:
    """What is said of cohorts' rounds, as the ledger takes it."""
    return tuple(
        RoundVote(
            cohort=weighing.cohort,
            parameters=weighing.parameters,
            manifest=weighing.manifest,
            values=_as_values(weighing.values),
            applied=_as_values(weighing.applied_values),
        )
        for weighing in weighings
    )


def _as_values(values: Mapping[int, int]) -> tuple[UpdateValue, ...]:
    return tuple(UpdateValue(uid=uid, value=value) for uid, value in sorted(values.items()))

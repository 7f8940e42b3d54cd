"""What is told of a cohort's round: what each member sent, what it is worth, and why it is not part of the step.

Invariants: pure; who is taken is what the close block says, values are medians by stake as the ledger takes them;
nothing here is an input of anything that decides.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace

from actors.ballot import ContributionFinding, Finding, RoundFinding
from cluster.report import EpochRecord, MemberRecord, RoundRecord, weighted_mean
from ledger.entries import Cohort, Contribution, Neuron
from ledger.epoch.cohorts import weighted_median
from models.value.accounts import NANO

FLOAT32_BYTES = 4
ABSENT = "nothing of it is in the open block"
UNDECIDED = "no agreement on where the round begins; it is taken again"
NOT_POSITIVE = "it is not worth more than 0 to more than half of the stake"


@dataclass(frozen=True)
class RoundFacts:
    """A cohort, and where it stands.

    Attributes:
        id: its name on the ledger.
        size: parameters of its model.
        page_bytes: of the pages that a member trains on in a round.
        members: names of those that the configuration has.
        row: the ledger's, after the close; None before the first agreement.
    """

    name: str
    id: bytes
    size: int
    page_bytes: int
    members: tuple[str, ...]
    row: Cohort | None


@dataclass(frozen=True, kw_only=True)
class EpochFacts:
    """An epoch at its close block.

    Attributes:
        neurons, stakes_rao: at the close block.
        findings: by the uid of the validator that revealed.
        contributions: of this epoch's open block, by uid.
        sizes: of payloads in bytes, by their hash, as far as they are there.
        losses: of members' training, by name, as far as they are known.
        left_out: by name, "code: sentence" of members whose update was not made.
        earlier: the epochs before; what was sent and read adds up.
    """

    epoch: int
    neurons: Sequence[Neuron]
    stakes_rao: Sequence[int]
    findings: Mapping[int, Finding]
    contributions: Mapping[int, Contribution]
    sizes: Mapping[bytes, int]
    losses: Mapping[str, float]
    left_out: Mapping[str, str]
    earlier: Sequence[EpochRecord]

    @cached_property
    def by_uid(self) -> dict[int, Neuron]:
        """The neurons."""
        return {neuron.uid: neuron for neuron in self.neurons}

    @cached_property
    def weights(self) -> dict[int, int]:
        """The stake of each neuron, at least 1."""
        return {neuron.uid: max(1, stake) for neuron, stake in zip(self.neurons, self.stakes_rao, strict=True)}


@dataclass(frozen=True)
class _Heard:
    """What a validator says of a round; nothing, where it says it of other parameters than those agreed on."""

    weight: int
    said: RoundFinding | None

    @cached_property
    def by_uid(self) -> dict[int, ContributionFinding]:
        """What it says of each update."""
        return {each.uid: each for each in self.said.contributions} if self.said else {}


@dataclass(frozen=True)
class _Round:
    """A cohort in an epoch: what its members' records rest on."""

    cohort: RoundFacts
    epoch: EpochFacts

    @cached_property
    def standing(self) -> Cohort | None:
        """The ledger's row, if the close block says where this round began."""
        row = self.cohort.row
        return row if row is not None and row.epoch == self.epoch.epoch else None

    @cached_property
    def heard(self) -> tuple[_Heard, ...]:
        """What each validator that revealed says."""
        found = []
        for uid, finding in self.epoch.findings.items():
            said = next((each for each in finding.rounds if each.cohort == self.cohort.id), None)
            if said is not None and self.standing is not None and said.parameters != self.standing.parameters:
                said = None
            found.append(_Heard(self.epoch.weights.get(uid, 1), said))
        return tuple(found)

    @cached_property
    def contributions(self) -> dict[int, Contribution]:
        """Those to this cohort, by uid."""
        return {uid: row for uid, row in self.epoch.contributions.items() if row.cohort == self.cohort.id}


def round_records(cohorts: Sequence[RoundFacts], epoch: EpochFacts) -> tuple[RoundRecord, ...]:
    """One record a cohort."""
    return tuple(_round_record(_Round(cohort, epoch)) for cohort in cohorts)


def _round_record(found: _Round) -> RoundRecord:
    cohort, epoch = found.cohort, found.epoch
    said = [(heard.said, heard.weight) for heard in found.heard if heard.said is not None and not heard.said.problem]
    began = found.standing or (said[0][0] if said else None)
    weights = [weight for _, weight in said]
    before = [each for record in epoch.earlier for each in record.rounds if each.id == cohort.id.hex()]
    sizes = [epoch.sizes[each.payload] for each in found.contributions.values() if each.payload in epoch.sizes]
    dense_bytes = FLOAT32_BYTES * cohort.size * len(sizes)
    losses = [epoch.losses[name] for name in cohort.members if name in epoch.losses]
    return RoundRecord(
        cohort=cohort.name,
        id=cohort.id.hex(),
        agreed=found.standing is not None,
        parameters=began.parameters.hex() if began else "",
        manifest=began.manifest.hex() if began else "",
        bits_per_byte=_bits_per_byte(began.manifest, epoch) if began else None,
        loss_bits_per_byte=sum(losses) / len(losses) if losses else None,
        tokens=(before[-1].tokens if before else 0) + len(found.contributions) * cohort.page_bytes,
        sent_bytes=sum(sizes),
        dense_bytes=dense_bytes,
        sent_bytes_so_far=(before[-1].sent_bytes_so_far if before else 0) + sum(sizes),
        dense_bytes_so_far=(before[-1].dense_bytes_so_far if before else 0) + dense_bytes,
        path_bits=weighted_mean([each.path_bits for each, _ in said], weights),
        measured_bits=weighted_mean([each.measured_bits for each, _ in said], weights),
        members=_members(found),
    )


def _bits_per_byte(manifest: bytes, epoch: EpochFacts) -> float | None:
    """Of a version on held-out text, if a neuron stands for it."""
    uids = {neuron.uid for neuron in epoch.neurons if neuron.manifest == manifest}
    told = [
        (entry.bits_per_byte, epoch.weights.get(uid, 1))
        for uid, finding in epoch.findings.items()
        for entry in finding.neurons
        if entry.uid in uids
    ]
    return weighted_mean([value for value, _ in told], [weight for _, weight in told])


def _members(found: _Round) -> tuple[MemberRecord, ...]:
    """Those whom the configuration or the open block names, in order of uid, and at last those that have none."""
    named = {neuron.name: neuron.uid for neuron in found.epoch.neurons}
    uids = found.contributions.keys() | {named[name] for name in found.cohort.members if name in named}
    strangers = [name for name in found.cohort.members if name not in named]
    return (*(_member(found, uid) for uid in sorted(uids)), *(_absent(found, name) for name in strangers))


def _member(found: _Round, uid: int) -> MemberRecord:
    name = found.epoch.by_uid[uid].name if uid in found.epoch.by_uid else f"uid {uid}"
    row, sent = found.cohort.row, found.contributions.get(uid)
    sums = {each.uid: each.value for each in row.sums} if row else {}
    if sent is None:
        record = _absent(found, name)
    else:
        code, sentence = _outcome(found, uid)
        record = MemberRecord(
            uid=uid,
            name=name,
            bits=_median(found, uid, "bits"),
            bits_se=weighted_mean(
                [heard.by_uid[uid].bits_se if uid in heard.by_uid else None for heard in found.heard],
                [heard.weight for heard in found.heard],
            ),
            sent_bytes=found.epoch.sizes.get(sent.payload),
            code=code,
            sentence=sentence,
        )
    return replace(record, uid=uid, applied_bits=_median(found, uid, "applied_bits"), sum_bits=sums.get(uid, 0) / NANO)


def _absent(found: _Round, name: str) -> MemberRecord:
    code, _, sentence = found.epoch.left_out.get(name, f"absent: {ABSENT}").partition(": ")
    return MemberRecord(uid=None, name=name, code=code, sentence=sentence)


def _outcome(found: _Round, uid: int) -> tuple[str, str]:
    """Why an update is not part of the step, code and sentence as most of the stake has them; empty if it is."""
    if found.standing is None:
        problems = Counter({heard.said.problem: heard.weight for heard in found.heard if heard.said})
        told = problems.most_common(1)[0][0] if problems else ""
        return "undecided", f"{UNDECIDED}: {told}" if told else UNDECIDED
    if uid in {each.uid for each in found.standing.accepted}:
        return "", ""
    votes: Counter[str] = Counter()
    for heard in found.heard:
        votes[heard.by_uid[uid].refusal if uid in heard.by_uid else ""] += heard.weight
    code, _, sentence = (votes.most_common(1)[0][0] if votes else "").partition(": ")
    return (code, sentence) if code else ("no_gain", NOT_POSITIVE)


def _median(found: _Round, uid: int, field: str) -> float | None:
    """By stake, as the ledger takes it: who is silent says 0. None where nobody valued it."""
    values = [(heard.weight, getattr(heard.by_uid.get(uid), field, None)) for heard in found.heard]
    if all(value is None for _, value in values):
        return None
    return weighted_median([(weight, round(NANO * (value or 0.0))) for weight, value in values]) / NANO

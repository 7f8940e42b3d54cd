"""What is told of a run: one record an epoch, one a neuron, and the document of a whole run.

Invariants: pure but for the clock; figures of information are bits per byte, stake-weighted means over the validators
that revealed; money is integers (RAO); nothing here is an input of anything that decides.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from actors.ballot import Finding, NeuronFinding
from cluster.observe.facts import Asked, DriverFacts, HostWork
from ledger.entries import NEVER, Neuron
from ledger.epoch.fixed import ONE_Q31
from ledger.keys import encode_address

Status = Literal["ok", "late", "dead", "invalid", "refused", "idle"]
Kind = Literal["hosted", "adapter", "remote", "cohort", "validator"]
NO_UPDATE = ("absent", "undecided", "dead")
"""Codes of members that have no update which could be refused."""


class Seconds(Struct, frozen=True, kw_only=True):
    """How long the parts of an epoch took."""

    query: float
    value: float
    train: float
    close: float


class NeuronRecord(Struct, frozen=True, kw_only=True):
    """A neuron at a close block. Bits are per byte; None: not measured in this epoch.

    Attributes:
        new_bits: what its new version added; 0 if it was tried and not admitted.
        account_bits: what its new bits of all epochs still earn.
        share_bits: what of the present collective's knowledge comes from its versions.
        looked_up: windows that it predicts above 0.99 per byte where nobody else exceeds 0.5; the most that a
            validator found.
        reason: why its status is not ok.
    """

    uid: int
    name: str
    hotkey: str
    kind: Kind
    bits_per_byte: float | None
    new_bits: float | None
    new_bits_se: float | None
    account_bits: float | None
    share_bits: float | None
    incentive: float
    dividends: float
    emission_rao: int
    stake_rao: int
    status: Status
    reason: str = ""
    looked_up: int = 0


class MemberRecord(Struct, frozen=True, kw_only=True):
    """What a member of a cohort brought to a round. Bits are per byte of held-out text, medians by stake of what the
    validators found; None: not valued.

    Attributes:
        bits, bits_se: what its update is worth on the way to the step of all; accepted if above 0.
        applied_bits: what its update of the last round was worth on the way that was taken.
        sum_bits: the decaying sum of what it applied, by which the cohort's pay is divided.
        sent_bytes: of its update; None where the file is not there.
        code: why it is not part of the step: that of the refusal, `no_gain`, `late`, `absent`, …; empty if it is taken.
    """

    uid: int | None
    name: str
    bits: float | None = None
    bits_se: float | None = None
    applied_bits: float | None = None
    sum_bits: float = 0.0
    sent_bytes: int | None = None
    code: str = ""
    sentence: str = ""


class RoundRecord(Struct, frozen=True, kw_only=True):
    """A cohort's round of an epoch, at its close block. Hashes are hexadecimal.

    Attributes:
        id: the cohort's name on the ledger.
        agreed: whether the validators agreed on where the round begins; else it is taken again in the next epoch.
        parameters, manifest: of θ, where the round began; empty where nobody could say.
        bits_per_byte: of θ on held-out text, once it is published as a version.
        loss_bits_per_byte: mean training loss of the members in this round.
        tokens: bytes of text that was given to those who sent updates, in all rounds so far; 0: no round has begun.
        sent_bytes, dense_bytes: of this round's updates, and what they would have as float32.
        sent_bytes_so_far, dense_bytes_so_far: of all rounds.
        path_bits, measured_bits: of the step of all contributions: the sum of their values, and how much fewer bits
            its end needs.
    """

    cohort: str
    id: str
    agreed: bool
    parameters: str
    manifest: str
    bits_per_byte: float | None
    loss_bits_per_byte: float | None
    tokens: int
    sent_bytes: int
    dense_bytes: int
    sent_bytes_so_far: int
    dense_bytes_so_far: int
    path_bits: float | None
    measured_bits: float | None
    members: tuple[MemberRecord, ...]

    @property
    def taken(self) -> tuple[str, ...]:
        """Whose updates are part of the step."""
        return tuple(member.name for member in self.members if not member.code)

    @property
    def refused(self) -> tuple[MemberRecord, ...]:
        """Those whose are not, each with why."""
        return tuple(member for member in self.members if member.code)


class EpochRecord(Struct, frozen=True, kw_only=True):
    """An epoch at its close block. Figures of information are None where no validator valued anything.

    Attributes:
        issuance_rao: after the close block.
        closed_s: when it was closed, as Unix time.
        asked, hosts: of the query phase; None and empty where an earlier driver held it.
        driver: of its process and its disk, when the epoch was over.
    """

    epoch: int
    height: int
    block_hash: str
    collective_bits_per_byte: float | None
    best_peer_bits_per_byte: float | None
    baseline_bits_per_byte: float | None
    new_bits: float | None
    minted_rao: int
    to_stake: bool
    final: bool
    seconds: Seconds
    neurons: tuple[NeuronRecord, ...]
    rounds: tuple[RoundRecord, ...] = ()
    issuance_rao: int | None = None
    closed_s: float = 0.0
    asked: Asked | None = None
    hosts: tuple[HostWork, ...] = ()
    driver: DriverFacts | None = None


@dataclass(frozen=True)
class RunReport:
    """What a launch brought.

    Attributes:
        epochs: this run's. neurons: as of the last close block.
        plot: the figure of what cohorts have learned; None where there are none.
    """

    network: str
    home: Path
    height: int
    block_hash: str
    issuance_rao: int
    epochs: tuple[EpochRecord, ...]
    neurons: tuple[NeuronRecord, ...]
    plot: Path | None = None


def append_epoch(path: Path, record: EpochRecord) -> None:
    """Add an epoch's record to the file of all of them, one JSON line each, on a line of its own even after a crash."""
    with path.open("ab") as file:
        file.write(b"\n" + msgspec.json.encode(record))


def read_epochs(path: Path) -> list[EpochRecord]:
    """The records in a file; none where there is no file. A line that a crash cut off is passed over."""
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(msgspec.DecodeError):
            records.append(msgspec.json.decode(line, type=EpochRecord))
    return records


def weighted_mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    """The mean of what is there, by weight; None where nothing is."""
    there = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    total = sum(weight for _, weight in there)
    return sum(value * weight for value, weight in there) / total if total else None


def neuron_records(
    neurons: Sequence[Neuron],
    stakes_rao: Sequence[int],
    findings: Mapping[int, Finding],
    epoch: int,
    adapters: Collection[bytes] = (),
    rounds: Sequence[RoundRecord] = (),
) -> tuple[NeuronRecord, ...]:
    """One record a neuron.

    Args:
        neurons: at the close block of `epoch`, by uid, and their stakes.
        findings: by the uid of the validator that revealed.
        adapters: manifests of versions that are adapters.
        rounds: of the cohorts; what became of a member's update is its status.
    """
    members = {member.uid: member for each in rounds for member in each.members if member.uid is not None}
    stakes = {neuron.uid: stake for neuron, stake in zip(neurons, stakes_rao, strict=True)}
    weights = [max(1, stakes[uid]) for uid in findings]
    tables = [{found.uid: found for found in finding.neurons} for finding in findings.values()]
    return tuple(
        _neuron_record(
            neuron,
            "adapter" if neuron.manifest in adapters else _kind(neuron),
            members.get(neuron.uid),
            stakes[neuron.uid],
            [table.get(neuron.uid) for table in tables],
            weights,
            epoch,
        )
        for neuron in neurons
    )


def _neuron_record(
    neuron: Neuron,
    kind: Kind,
    member: MemberRecord | None,
    stake_rao: int,
    found: Sequence[NeuronFinding | None],
    weights: Sequence[int],
    epoch: int,
) -> NeuronRecord:
    def mean(field: str) -> float | None:
        return weighted_mean([getattr(f, field) if f else None for f in found], weights)

    status, reason = _status_of_member(member) if member else _status(neuron, found, weights, epoch)
    return NeuronRecord(
        uid=neuron.uid,
        name=neuron.name,
        hotkey=encode_address(neuron.hotkey),
        kind="cohort" if member else kind,
        bits_per_byte=mean("bits_per_byte"),
        new_bits=mean("new_bits"),
        new_bits_se=mean("new_bits_se"),
        account_bits=mean("account_bits"),
        share_bits=mean("share_bits"),
        incentive=neuron.incentive_q31 / ONE_Q31,
        dividends=neuron.dividends_q31 / ONE_Q31,
        emission_rao=neuron.emission_rao,
        stake_rao=stake_rao,
        status=status,
        reason=reason,
        looked_up=max((f.looked_up for f in found if f), default=0),
    )


def _kind(neuron: Neuron) -> Kind:
    """What a neuron is by what it stands for: a version, an endpoint, or votes."""
    if neuron.manifest is not None:
        return "hosted"
    return "remote" if neuron.endpoint is not None and neuron.revealed_epoch == NEVER else "validator"


def _status(
    neuron: Neuron, found: Sequence[NeuronFinding | None], weights: Sequence[int], epoch: int
) -> tuple[Status, str]:
    if _kind(neuron) == "validator":
        if neuron.revealed_epoch == epoch:
            return "ok", ""
        return "idle", "no vote was revealed" if neuron.permit else "it has no version, and no permit to vote"
    votes: Counter[str] = Counter()
    for entry, weight in zip(found, weights, strict=True):
        votes["idle: not asked" if entry is None else entry.failure] += weight
    if not votes:
        return "idle", "no validator revealed"
    word, _, sentence = votes.most_common(1)[0][0].partition(": ")
    return (word or "ok"), sentence  # type: ignore[return-value]  # the words are those of `dispatch.Reason`


def _status_of_member(member: MemberRecord) -> tuple[Status, str]:
    if not member.code:
        return "ok", ""
    status: Status = "late" if member.code == "late" else "idle" if member.code in NO_UPDATE else "refused"
    return status, f"{member.code}: {member.sentence}"


def epoch_record(
    *,
    epoch: int,
    height: int,
    block_hash: bytes,
    minted_rao: int,
    final: bool,
    seconds: Seconds,
    findings: Mapping[int, Finding],
    neurons: tuple[NeuronRecord, ...],
    rounds: tuple[RoundRecord, ...] = (),
    issuance_rao: int | None = None,
    asked: Asked | None = None,
    hosts: tuple[HostWork, ...] = (),
    driver: DriverFacts | None = None,
) -> EpochRecord:
    """An epoch's record, closed now; `findings` by the uid of the validator that revealed."""
    stakes = {neuron.uid: max(1, neuron.stake_rao) for neuron in neurons}
    weights = [stakes[uid] for uid in findings]

    def mean(field: str) -> float | None:
        return weighted_mean([getattr(finding, field) for finding in findings.values()], weights)

    return EpochRecord(
        epoch=epoch,
        height=height,
        block_hash=block_hash.hex(),
        collective_bits_per_byte=mean("collective"),
        best_peer_bits_per_byte=min((n.bits_per_byte for n in neurons if n.bits_per_byte is not None), default=None),
        baseline_bits_per_byte=mean("baseline"),
        new_bits=mean("new_bits"),
        minted_rao=minted_rao,
        to_stake=not any(neuron.incentive for neuron in neurons),
        final=final,
        seconds=seconds,
        neurons=neurons,
        rounds=rounds,
        issuance_rao=issuance_rao,
        closed_s=round(time.time(), 3),
        asked=asked,
        hosts=hosts,
        driver=driver,
    )

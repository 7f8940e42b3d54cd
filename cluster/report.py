"""What is told of a run: one record an epoch, one a neuron, and the document of a whole run.

Invariants: pure; figures of information are bits per byte, stake-weighted means over the validators that revealed;
money is integers (RAO); nothing here is an input of anything that decides.
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from actors.ballot import Finding, NeuronFinding
from ledger.entries import NEVER, Neuron
from ledger.epoch.fixed import ONE_Q31
from ledger.keys import encode_address

Status = Literal["ok", "late", "dead", "invalid", "refused", "idle"]
Kind = Literal["hosted", "adapter", "remote", "cohort", "validator"]


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


class EpochRecord(Struct, frozen=True, kw_only=True):
    """An epoch at its close block. Figures of information are None where no validator valued anything."""

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
) -> tuple[NeuronRecord, ...]:
    """One record a neuron.

    Args:
        neurons: at the close block of `epoch`, by uid, and their stakes.
        findings: by the uid of the validator that revealed.
        adapters: manifests of versions that are adapters.
    """
    stakes = {neuron.uid: stake for neuron, stake in zip(neurons, stakes_rao, strict=True)}
    weights = [max(1, stakes[uid]) for uid in findings]
    tables = [{found.uid: found for found in finding.neurons} for finding in findings.values()]
    return tuple(
        _neuron_record(
            neuron,
            "adapter" if neuron.manifest in adapters else _kind(neuron),
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
    stake_rao: int,
    found: Sequence[NeuronFinding | None],
    weights: Sequence[int],
    epoch: int,
) -> NeuronRecord:
    def mean(field: str) -> float | None:
        return weighted_mean([getattr(f, field) if f else None for f in found], weights)

    status, reason = _status(neuron, found, weights, epoch)
    return NeuronRecord(
        uid=neuron.uid,
        name=neuron.name,
        hotkey=encode_address(neuron.hotkey),
        kind=kind,
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
) -> EpochRecord:
    """An epoch's record; `findings` by the uid of the validator that revealed."""
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
    )

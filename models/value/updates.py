"""What updates of a cohort's round are worth to one validator, in whole numbers, and who of its members is paid.

Invariants: from the bits of every group of windows to values and claims nothing is lost: sums are exact, so anyone
gets the same whole numbers; a member whose updates were worth nothing claims nothing, and if nobody claims anything
nobody is paid.

Legend: U updates, G groups of windows.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from models.value.accounts import nano
from models.value.errors import EvidenceError

DECAY = (9, 10)
"""What stays of the sum of a member's values from round to round, as on the ledger."""
LARGEST_VALUE = 2.0**20
"""Bits per byte; no byte is worth so much, and what is on the ledger stays within its bounds."""


class Bits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Along one path, bits_UG: by how much each update shortens each group of windows. uids ascend."""

    uids: list[int]
    bits_UG: list[list[float]]


class Weighing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a validator's word on a cohort's round rests on, and the word itself.

    Attributes:
        cohort, parameters, manifest: its name on the ledger; hash of θ, and of the version that holds θ.
        sums_before: the ledger's decaying sums, by uid. earning: those of the accepted who earn by their updates.
        window: the windows of the query that were weighed on. group: of each, ascending from 0. bytes_G: that are
            predicted.
        first, applied: of this epoch's updates to their joint step; of those accepted last along the way to θ.
        refused: codes by uid.
        values, applied_values: bits per byte in 10^-9, by uid.
    """

    cohort: bytes
    parameters: bytes
    manifest: bytes
    sums_before: dict[int, int]
    earning: list[int]
    window: list[int]
    group: list[int]
    bytes_G: list[int]
    first: Bits
    applied: Bits
    refused: dict[int, str]
    values: dict[int, int]
    applied_values: dict[int, int]


def whole_values(bits: Bits, bytes_G: Sequence[int]) -> dict[int, int]:
    """Each update's value, 10^-9 bits per byte."""
    total = sum(bytes_G)
    per_byte = {uid: math.fsum(bits_G) / total for uid, bits_G in zip(bits.uids, bits.bits_UG, strict=True)}
    return {uid: nano(min(LARGEST_VALUE, max(-LARGEST_VALUE, value))) for uid, value in per_byte.items()}


def claims_of(weighing: Weighing) -> dict[int, int]:
    """In what proportion the members are paid: what stays of their sums, and the positive of their applied values."""
    (part, whole), sums = DECAY, weighing.sums_before
    earned = {uid: max(0, weighing.applied_values.get(uid, 0)) for uid in weighing.earning}
    claims = {uid: sums.get(uid, 0) * part // whole + earned.get(uid, 0) for uid in sorted({*sums, *earned})}
    return {uid: claim for uid, claim in claims.items() if claim}


def claims_by_version(weighings: Sequence[Weighing]) -> dict[bytes, Mapping[int, int]]:
    """Claims by manifest of the version that holds a cohort's parameters."""
    return {weighing.manifest: claims_of(weighing) for weighing in weighings}


def check_weighings(weighings: Sequence[Weighing], windows: int) -> None:
    """Raises EvidenceError where a word on a round contradicts itself. `windows`: of the query."""
    names = [weighing.cohort for weighing in weighings]
    if names != sorted(set(names)):
        raise EvidenceError("rounds must ascend by cohort, each once")
    for weighing in weighings:
        _check(weighing, windows)


def _check(weighing: Weighing, windows: int) -> None:
    name = f"the round of cohort {weighing.cohort.hex()[:16]}"
    if any(len(each) != 32 for each in (weighing.cohort, weighing.parameters, weighing.manifest)):
        raise EvidenceError(f"{name} has a hash that is not of 32 bytes")
    groups = len(weighing.bytes_G)
    if len(weighing.window) != len(weighing.group) or sorted(set(weighing.group)) != list(range(groups)):
        raise EvidenceError(f"{name} does not say which group each window is of")
    if not np.isin(weighing.window, np.arange(windows)).all() or not groups or min(weighing.bytes_G) <= 0:
        raise EvidenceError(f"{name} was weighed on windows that were not asked about, or on no text")
    for bits in (weighing.first, weighing.applied):
        if any(len(bits_G) != groups for bits_G in bits.bits_UG) or len(bits.bits_UG) != len(bits.uids):
            raise EvidenceError(f"{name} has not one value for each update and group")
        if not all(math.isfinite(value) for bits_G in bits.bits_UG for value in bits_G):
            raise EvidenceError(f"{name} has a value that is no number of bits")
    by_uid = (weighing.sums_before, weighing.refused, weighing.values, weighing.applied_values)
    lists = (weighing.earning, weighing.first.uids, weighing.applied.uids, *(list(uids) for uids in by_uid))
    if any(list(uids) != sorted(set(uids)) for uids in lists):
        raise EvidenceError(f"{name} has uids that do not ascend")
    if any(value < 0 for value in weighing.sums_before.values()):
        raise EvidenceError(f"{name} has a sum below 0")


def audit_weighings(weighings: Sequence[Weighing]) -> list[str]:
    """What is wrong with the values of rounds, a sentence each."""
    return [
        f"the values of cohort {weighing.cohort.hex()[:16]} do not follow from the recorded bits"
        for weighing in weighings
        if (weighing.values, weighing.applied_values)
        != (whole_values(weighing.first, weighing.bytes_G), whole_values(weighing.applied, weighing.bytes_G))
    ]

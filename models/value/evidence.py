"""The evidence of a vote: all that a validator's values were computed from and led to, in one canonical encoding.

Invariants: equal evidence has equal bytes (canonical MessagePack of the columns, little-endian), so its hash can be
committed to; what decodes has exactly the columns of COLUMNS, of agreeing sizes, with row indices in range.
"""

import hashlib
import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.value.accounts import Books
from models.value.collective import Collective
from models.value.errors import EvidenceError
from models.value.round import HASH_BYTES, Round
from models.value.updates import Weighing, check_weighings
from models.value.values import ADMISSION_ERRORS, Fitted, Values

FORMAT = 3
READABLE = (2, 3)
"""Format 2 is that of networks without cohorts: it has no rounds."""
DOMAIN = b"taoray.evidence1"

COLUMNS = {
    "matrix": ("<i4", "NM"),
    "manifest": ("|u1", "NH"),
    "uid": ("<i4", "N"),
    "member": ("|u1", "N"),
    "remote": ("|u1", "N"),
    "new": ("|u1", "N"),
    "stratum": ("<i4", "M"),
    "document": ("<i4", "M"),
    "fold": ("|u1", "M"),
    "bytes": ("<i4", "M"),
    "window": ("<i4", "M"),
    "offset": ("<i4", "M"),
    "window_document_hash": ("|u1", "WH"),
    "window_offset": ("<i8", "W"),
    "window_length": ("<i8", "W"),
    "chain": ("<f8", "KFSR"),
    "admitted": ("<i4", "A"),
    "trial": ("<f8", "FST"),
    "p": ("<f8", "FSB"),
    "summary": ("<f8", "V"),
    "bits_per_byte": ("<f8", "N"),
    "remote_gain": ("<f8", "P"),
    "remote_gain_se": ("<f8", "P"),
    "trial_gain": ("<f8", "T"),
    "trial_gain_se": ("<f8", "T"),
    "new_bits": ("<f8", "A"),
    "new_bits_se": ("<f8", "A"),
    "share_bits": ("<f8", "N"),
    "collective_row": ("<i4", "C"),
    "collective_weight": ("<u2", "SC"),
}
"""Type and shape: N rows, M events, H 32, W windows, F 2 folds, S strata, R members and remote peers, P remote peers,
K = 1 + P, T tried, A admitted, B = 1 + A, V the five of SUMMARY, C members of the next collective. window, offset and
bytes say where an event lies: in which window, its first byte there, and how many."""
SUMMARY = ("gain", "gain_se", "baseline_bits_per_byte", "known_bits_per_byte", "collective_bits_per_byte")
BOOKED = ("summary", "remote_gain", "remote_gain_se", "trial_gain", "trial_gain_se", "new_bits", "new_bits_se")
"""Columns that become whole numbers of 10^-9 bit."""
LARGEST_BITS = 2**31
"""More than the matrix can say of one event."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """An array: its shape, and its elements in C order, little-endian."""

    shape: list[int]
    data: bytes


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The evidence of one validator's vote in one epoch. `columns` are those of COLUMNS.

    accounts_before by uid and books in 10^-9 bit per byte; answered: uids that could be voted for; rounds: what is said
    of the updates of cohorts, and decides who is paid for their versions.
    """

    format: int
    genesis: bytes
    epoch: int
    hotkey: bytes
    seed: bytes
    strata: list[str]
    answered: list[int]
    accounts_before: dict[int, int]
    books: Books
    columns: dict[str, Column]
    rounds: list[Weighing] = []

    def array(self, name: str) -> NDArray[Any]:
        """A column as a read-only array."""
        column = self.columns[name]
        return np.frombuffer(column.data, dtype=COLUMNS[name][0]).reshape(column.shape)

    def round(self) -> Round:
        """The round that was valued. Raises RoundError where its columns contradict each other."""
        return Round(
            matrix_NM=self.array("matrix").astype(np.int32),
            manifests=tuple(row.tobytes() for row in self.array("manifest")),
            uid_N=self.array("uid"),
            member_N=self.array("member").astype(bool),
            new_N=self.array("new").astype(bool),
            stratum_M=self.array("stratum"),
            document_M=self.array("document"),
            fold_M=self.array("fold"),
            bytes_M=self.array("bytes"),
            strata=tuple(self.strata),
            remote_N=self.array("remote").astype(bool),
        )

    def fitted(self) -> Fitted:
        """The recorded weights. Which remote peers were admitted follows from the recorded gains."""
        return Fitted(
            np.concatenate([np.flatnonzero(self.array("member")), np.flatnonzero(self.array("remote"))]),
            self.array("remote_gain") > ADMISSION_ERRORS * self.array("remote_gain_se"),
            self.array("chain"),
            np.flatnonzero(self.array("new")),
            self.array("admitted").astype(np.intp),
            self.array("trial"),
            self.array("p"),
        )

    def values(self) -> Values:
        """The recorded values."""
        return Values(
            **dict(zip(SUMMARY, self.array("summary").tolist(), strict=True)),
            bits_per_byte_N=self.array("bits_per_byte"),
            remote_gain_P=self.array("remote_gain"),
            remote_gain_se_P=self.array("remote_gain_se"),
            trial_gain_T=self.array("trial_gain"),
            trial_gain_se_T=self.array("trial_gain_se"),
            new_bits_A=self.array("new_bits"),
            new_bits_se_A=self.array("new_bits_se"),
            share_bits_N=self.array("share_bits"),
        )

    def collective(self) -> Collective:
        """The collective that this validator proposes."""
        rows = self.array("collective_row").tolist()
        manifests, uids = self.array("manifest"), self.array("uid")
        return Collective(
            tuple(rows),
            tuple(manifests[row].tobytes() for row in rows),
            tuple(int(uids[row]) for row in rows),
            tuple(self.strata),
            self.array("collective_weight").astype(np.uint16),
        )


class Accounts(msgspec.Struct, frozen=True):
    """Of a vote's books the accounts after the epoch alone, as every format has them."""

    accounts: dict[int, int]


class Booked(msgspec.Struct, frozen=True):
    """Of a vote's evidence what every format has."""

    format: int
    books: Accounts


def decode_accounts(data: bytes) -> dict[int, int]:
    """The accounts after the epoch, of evidence of any format, so that a network outlives a
    change of it. Raises EvidenceError where the bytes hold none.
    """
    try:
        booked = msgspec.msgpack.decode(data, type=Booked)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EvidenceError(f"not the evidence of a vote: {error}") from error
    return booked.books.accounts if 1 <= booked.format < READABLE[0] else decode_evidence(data).books.accounts


def encode_evidence(evidence: Evidence) -> bytes:
    """Canonical MessagePack of checked evidence: fields in their order, uids ascending, columns as in COLUMNS."""
    return msgspec.msgpack.encode(evidence)


def decode_evidence(data: bytes) -> Evidence:
    """Raises EvidenceError where the bytes are not canonical evidence with agreeing columns and rows in range."""
    try:
        booked = msgspec.msgpack.decode(data, type=Booked)
        if booked.format not in READABLE:
            raise EvidenceError(_other_format(booked.format))
        evidence = msgspec.msgpack.decode(data, type=Evidence)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EvidenceError(f"not the evidence of a vote: {error}") from error
    check_evidence(evidence)
    if encode_evidence(evidence) != data:
        raise EvidenceError("the evidence is not in its canonical encoding")
    return evidence


def evidence_hash(data: bytes) -> bytes:
    """BLAKE2b-256 of encoded evidence, with its domain: what a commitment holds."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES, person=DOMAIN).digest()


def check_evidence(evidence: Evidence) -> None:
    """Raises EvidenceError where keys, columns, sizes or row indices do not fit together."""
    if evidence.format not in READABLE:
        raise EvidenceError(_other_format(evidence.format))
    if evidence.rounds and evidence.format < FORMAT:
        raise EvidenceError(f"evidence of format {evidence.format} has no rounds of cohorts")
    if len(evidence.genesis) != HASH_BYTES or len(evidence.hotkey) != HASH_BYTES:
        raise EvidenceError(f"genesis and hotkey must have {HASH_BYTES} bytes")
    if any(amount < 0 for amount in evidence.accounts_before.values()):
        raise EvidenceError("an account before the epoch is below 0")
    books = evidence.books
    by_uid = (books.new_bits, books.new_bits_se, books.credits, books.remote_credits, books.accounts, books.votes)
    if any(list(uids) != sorted(set(uids)) for uids in (*by_uid, evidence.accounts_before, evidence.answered)):
        raise EvidenceError("uids must stand in ascending order, each once")
    if list(evidence.columns) != list(COLUMNS):
        raise EvidenceError(f"the columns are not those of format {FORMAT}: {', '.join(evidence.columns)}")
    sizes = {"H": HASH_BYTES, "F": 2, "V": len(SUMMARY), "S": len(evidence.strata)}
    for name, (kind, letters) in COLUMNS.items():
        _check_column(name, evidence.columns[name], np.dtype(kind).itemsize, letters, sizes)
    _check_indices(evidence, sizes)
    check_weighings(evidence.rounds, sizes["W"])
    for name in BOOKED:
        if not (np.abs(evidence.array(name)) < LARGEST_BITS).all():
            raise EvidenceError(f"column {name} has a value that is no number of bits")


def _other_format(found: int) -> str:
    return f"evidence of format {found}, this version reads 2 and {FORMAT}: audit it with the version that wrote it"


def _check_column(name: str, column: Column, item_bytes: int, letters: str, sizes: dict[str, int]) -> None:
    if len(column.shape) != len(letters):
        raise EvidenceError(f"column {name} has {len(column.shape)} dimensions, not {len(letters)}")
    for letter, size in zip(letters, column.shape, strict=True):
        if size < 0 or sizes.setdefault(letter, size) != size:
            raise EvidenceError(f"column {name} has {size} {letter}, other columns have {sizes[letter]}")
    if math.prod(column.shape) * item_bytes != len(column.data):
        raise EvidenceError(f"column {name} has {len(column.data)} bytes, which is not what its shape needs")


def _check_indices(evidence: Evidence, sizes: dict[str, int]) -> None:
    counts = {name: int(np.count_nonzero(evidence.array(name))) for name in ("member", "remote", "new")}
    wanted = {"R": counts["member"] + counts["remote"], "P": counts["remote"], "K": 1 + counts["remote"]}
    wanted |= {"T": counts["new"], "B": 1 + sizes["A"]}
    if any(sizes[letter] != size for letter, size in wanted.items()):
        raise EvidenceError("the weights are not of the round's members, remote peers, new and admitted versions")
    new = evidence.array("new")
    if not np.isin(evidence.array("admitted"), np.flatnonzero(new)).all():
        raise EvidenceError("a version was admitted that is not new")
    if not np.isin(evidence.array("collective_row"), np.arange(sizes["N"])).all():
        raise EvidenceError("the collective names a row that is not in the round")
    window, offset, width = (evidence.array(name).astype(np.int64) for name in ("window", "offset", "bytes"))
    if not np.isin(window, np.arange(sizes["W"])).all():
        raise EvidenceError("an event lies in a window that was not asked about")
    if (offset < 0).any() or (offset + width > evidence.array("window_length")[window]).any():
        raise EvidenceError("an event lies beyond the end of its window")

"""Evidence between a validator's round and its disk.

Invariants: what is built here decodes again to the same round and valuation; a file is whole on disk or absent.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.content import write_whole
from models.value.errors import EvidenceError
from models.value.evidence import (
    COLUMNS,
    FORMAT,
    SUMMARY,
    Column,
    Evidence,
    check_evidence,
    decode_accounts,
    decode_evidence,
    evidence_hash,
)
from models.value.round import HASH_BYTES, Round
from models.value.updates import Weighing
from models.value.values import Valuation


@dataclass(frozen=True)
class WindowIds:
    """Which text was asked about: of each window its document's hash (32 bytes), offset and length in bytes; of each
    event its window, and its first byte there, so that who holds the text can lay the events on it.
    """

    document_hashes: Sequence[bytes]
    offsets: Sequence[int]
    lengths: Sequence[int]
    event_window_M: NDArray[np.integer]
    event_offset_M: NDArray[np.integer]


def build_evidence(
    round_: Round,
    valuation: Valuation,
    accounts_before: Mapping[int, int],
    answered: Collection[int],
    *,
    genesis: bytes,
    epoch: int,
    hotkey: bytes,
    seed: bytes,
    windows: WindowIds,
    weighings: Sequence[Weighing] = (),
) -> Evidence:
    """Evidence of a valuation. Raises EvidenceError where the windows' ids do not fit together."""
    arrays = _round_arrays(round_) | _window_arrays(windows) | _valuation_arrays(valuation)
    columns = {name: _column(name, arrays[name]) for name in COLUMNS}
    evidence = Evidence(
        format=FORMAT,
        genesis=genesis,
        epoch=epoch,
        hotkey=hotkey,
        seed=seed,
        strata=list(round_.strata),
        answered=sorted(set(answered)),
        accounts_before=dict(sorted(accounts_before.items())),
        books=valuation.books,
        rounds=list(weighings),
        columns=columns,
    )
    check_evidence(evidence)
    return evidence


def write_evidence(path: Path, data: bytes) -> None:
    """Write encoded evidence so that the file is whole on disk or absent. Raises OSError."""
    write_whole(path, data)


def read_evidence(path: Path, expected_hash: bytes | None = None) -> Evidence:
    """Read and check a file. Raises EvidenceError if it is absent, damaged, or not what was committed to."""
    return decode_evidence(_read(path, expected_hash))


def read_accounts(path: Path, expected_hash: bytes | None = None) -> dict[int, int]:
    """The accounts after the epoch, from a file of this format or of an earlier one. Raises EvidenceError as above."""
    return decode_accounts(_read(path, expected_hash))


def _read(path: Path, expected_hash: bytes | None) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"evidence {path} cannot be read: {error.strerror}") from error
    if expected_hash is not None and evidence_hash(data) != expected_hash:
        raise EvidenceError(f"evidence {path} does not have the hash {expected_hash.hex()} of its commitment")
    return data


def _round_arrays(round_: Round) -> dict[str, NDArray[Any]]:
    return {
        "matrix": round_.matrix_NM,
        "manifest": _hashes(round_.manifests),
        "uid": round_.uid_N,
        "member": round_.member_N,
        "remote": round_.remote_N,
        "new": round_.new_N,
        "stratum": round_.stratum_M,
        "document": round_.document_M,
        "fold": round_.fold_M,
        "bytes": round_.bytes_M,
    }


def _window_arrays(windows: WindowIds) -> dict[str, NDArray[Any]]:
    if any(len(document) != HASH_BYTES for document in windows.document_hashes):
        raise EvidenceError(f"a window's document hash must have {HASH_BYTES} bytes")
    return {
        "window_document_hash": _hashes(windows.document_hashes),
        "window_offset": np.asarray(windows.offsets),
        "window_length": np.asarray(windows.lengths),
        "window": np.asarray(windows.event_window_M),
        "offset": np.asarray(windows.event_offset_M),
    }


def _valuation_arrays(valuation: Valuation) -> dict[str, NDArray[Any]]:
    fitted, values, collective = valuation.fitted, valuation.values, valuation.collective
    return {
        "chain": fitted.chain_KFSR,
        "admitted": fitted.admitted_A,
        "trial": fitted.trial_FST,
        "p": fitted.p_FSB,
        "summary": np.array([getattr(values, name) for name in SUMMARY]),
        "bits_per_byte": values.bits_per_byte_N,
        "remote_gain": values.remote_gain_P,
        "remote_gain_se": values.remote_gain_se_P,
        "trial_gain": values.trial_gain_T,
        "trial_gain_se": values.trial_gain_se_T,
        "new_bits": values.new_bits_A,
        "new_bits_se": values.new_bits_se_A,
        "share_bits": values.share_bits_N,
        "collective_row": np.asarray(collective.rows),
        "collective_weight": collective.weights_SC,
    }


def _hashes(hashes: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), HASH_BYTES)


def _column(name: str, array: NDArray[Any]) -> Column:
    kind = np.dtype(COLUMNS[name][0])
    return Column(list(array.shape), np.ascontiguousarray(array).astype(kind).tobytes())

"""Sparse rows of votes and bonds, and the dense matrix of the few columns that anybody names.

Invariants: a row that is malformed is refused, never repaired; what nobody names costs nothing.

Shapes: V validators (ascending uids), M targets (ascending uids that some row names), K entries of all rows.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, compress
from typing import NamedTuple

import numpy as np

from ledger.epoch.fixed import Int64s

Row = tuple[Sequence[int], Sequence[int]]
"""A sparse row: target uids, strictly ascending, and their values. A target left out has the value 0."""


class Rows(NamedTuple):
    """The rows of some validators, one after the other: K entries in all."""

    lengths_V: Int64s
    uids_K: Int64s
    values_K: Int64s


def parse_rows(rows: Mapping[int, Row], validators: Sequence[int], size: int, largest: int) -> Rows:
    """The rows of `validators`, an empty one for whoever has none.

    ValueError unless uids ascend strictly within 0..size-1 and each has one value within 0..largest.
    """
    empty: Row = ((), ())
    chosen = [rows.get(validator, empty) for validator in validators]
    for validator, (uids, values) in zip(validators, chosen, strict=True):
        if len(uids) != len(values):
            raise ValueError(f"row of uid {validator} has {len(uids)} uids but {len(values)} values: give one for each")
    lengths_V = np.array([len(uids) for uids, _ in chosen], dtype=np.int64)
    total = int(lengths_V.sum())
    uids_K = np.fromiter(chain.from_iterable(uids for uids, _ in chosen), dtype=np.int64, count=total)
    values_K = np.fromiter(chain.from_iterable(values for _, values in chosen), dtype=np.int64, count=total)
    parsed = Rows(lengths_V, uids_K, values_K)
    _validate_rows(parsed, validators, size, largest)
    return parsed


def find_targets(size: int, *parsed: Rows) -> Int64s:
    """All uids that any of the rows name, ascending."""
    named_N = np.zeros(size, dtype=np.bool_)
    for rows in parsed:
        named_N[rows.uids_K] = True
    return np.flatnonzero(named_N)


def to_matrix(rows: Rows, targets_M: Int64s) -> Int64s:
    """The rows as a matrix (V, M)."""
    place_of = np.zeros(int(targets_M[-1]) + 1 if len(targets_M) else 0, dtype=np.int64)
    place_of[targets_M] = np.arange(len(targets_M))
    values_VM = np.zeros((len(rows.lengths_V), len(targets_M)), dtype=np.int64)
    values_VM[np.repeat(np.arange(len(rows.lengths_V)), rows.lengths_V), place_of[rows.uids_K]] = rows.values_K
    return values_VM


def to_rows(validators: Sequence[int], targets_M: Int64s, values_VM: Int64s) -> dict[int, Row]:
    """The non-zero entries of each row of a matrix, rows without any left out."""
    targets: list[int] = targets_M.tolist()
    values_VM = np.ascontiguousarray(values_VM)
    used_VM = values_VM != 0
    rows: dict[int, Row] = {}
    for index, count in enumerate(used_VM.sum(axis=1).tolist()):
        values_M, used_M = values_VM[index], used_VM[index]
        if count == len(targets) and count:
            rows[validators[index]] = (targets.copy(), values_M.tolist())
        elif count:
            rows[validators[index]] = (list(compress(targets, used_M.tolist())), values_M[used_M].tolist())
    return rows


def _validate_rows(rows: Rows, validators: Sequence[int], size: int, largest: int) -> None:
    uids_K, values_K = rows.uids_K, rows.values_K
    wrong_K = (uids_K < 0) | (uids_K >= size)
    wrong_K[1:] |= uids_K[1:] <= uids_K[:-1]
    starts_V = np.cumsum(rows.lengths_V) - rows.lengths_V
    # The first entry of a row follows nobody: only its range counts.
    first_V = starts_V[rows.lengths_V > 0]
    wrong_K[first_V] = (uids_K[first_V] < 0) | (uids_K[first_V] >= size)
    beyond_K = (values_K < 0) | (values_K > largest)
    for bad_K, rule in (
        (wrong_K, f"name strictly ascending uids below {size}"),
        (beyond_K, f"have values from 0 to {largest}"),
    ):
        if bad_K.any():
            row = int(np.searchsorted(starts_V, bad_K.argmax(), side="right")) - 1
            raise ValueError(f"row of uid {validators[row]} must {rule}")

"""Sparse rows of votes and bonds, and the dense matrix of the few columns that anybody names.

Invariants: a row that is malformed is refused, never repaired; what nobody names costs nothing.

Shapes: V validators (ascending uids), M targets (ascending uids that some row names).
"""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from ledger.epoch.fixed import Int64s

Row = tuple[Sequence[int], Sequence[int]]
"""A sparse row: target uids, strictly ascending, and their values. A target left out has the value 0."""

Parsed = list[tuple[Int64s, Int64s]]
"""The rows of some validators, in their order."""


def parse_rows(rows: Mapping[int, Row], validators: Sequence[int], size: int, largest: int) -> Parsed:
    """The rows of `validators`, an empty one for whoever has none.

    ValueError unless uids ascend strictly within 0..size-1 and each has one value within 0..largest.
    """
    empty: Row = ((), ())
    return [_parse_row(validator, *rows.get(validator, empty), size, largest) for validator in validators]


def find_targets(size: int, *parsed: Parsed) -> Int64s:
    """All uids that any of the rows name, ascending."""
    named_N = np.zeros(size, dtype=np.bool_)
    for rows in parsed:
        for uids, _ in rows:
            named_N[uids] = True
    return np.flatnonzero(named_N)


def to_matrix(rows: Parsed, targets_M: Int64s) -> Int64s:
    """The rows as a matrix (V, M)."""
    place_of = np.zeros(int(targets_M[-1]) + 1 if len(targets_M) else 0, dtype=np.int64)
    place_of[targets_M] = np.arange(len(targets_M))
    values_VM = np.zeros((len(rows), len(targets_M)), dtype=np.int64)
    for row_M, (uids, values) in zip(values_VM, rows, strict=True):
        row_M[place_of[uids]] = values
    return values_VM


def to_rows(validators: Sequence[int], targets_M: Int64s, values_VM: Int64s) -> dict[int, Row]:
    """The non-zero entries of each row of a matrix, rows without any left out."""
    targets: list[int] = targets_M.tolist()
    rows: dict[int, Row] = {}
    for validator, values_M in zip(validators, values_VM, strict=True):
        used_M = values_M != 0
        if used_M.any():
            rows[validator] = (list(compress(targets, used_M.tolist())), values_M[used_M].tolist())
    return rows


def _parse_row(
    validator: int, uids: Sequence[int], values: Sequence[int], size: int, largest: int
) -> tuple[Int64s, Int64s]:
    if len(uids) != len(values):
        raise ValueError(f"row of uid {validator} has {len(uids)} uids but {len(values)} values: give one for each")
    uid_array, value_array = (np.fromiter(part, dtype=np.int64, count=len(part)) for part in (uids, values))
    if len(uids) and (uid_array[0] < 0 or uid_array[-1] >= size or np.any(uid_array[1:] <= uid_array[:-1])):
        raise ValueError(f"row of uid {validator} must name strictly ascending uids below {size}")
    if len(values) and (value_array.min() < 0 or value_array.max() > largest):
        raise ValueError(f"row of uid {validator} must have values from 0 to {largest}")
    return uid_array, value_array

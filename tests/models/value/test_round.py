from dataclasses import replace

import numpy as np
import pytest

from models.value.errors import RoundError
from models.value.round import ZERO, quantise


def test_log_probabilities_are_rounded_to_parts_of_a_bit(rounds):
    units = quantise(np.log(np.array([1.0, 0.5, 0.25, 2**-0.5, 1 / 3])))
    assert units.dtype == np.int32
    assert units.tolist() == [0, -1024, -2048, -512, round(-np.log2(3) * 1024)]


def test_probability_zero_survives(rounds, text):
    impossible = text.probability["second"].copy()
    impossible[5] = 0.0
    round_ = rounds(["first"], ["impossible"], impossible=impossible)
    assert round_.matrix_NM[2, 5] == ZERO
    assert round_.log_probability_NM[2, 5] == -np.inf
    assert np.isfinite(round_.log_probability_NM[2]).sum() == len(impossible) - 1


def test_a_single_precision_rounding_above_one_is_forgiven():
    assert quantise(np.array([1e-7], dtype=np.float32)).tolist() == [0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.01])
def test_what_is_no_log_probability_is_refused(wrong):
    with pytest.raises(RoundError, match="1 of 2"):
        quantise(np.array([-1.0, wrong]))


def spoil(column, index, value):
    column = column.copy()
    column[index] = value
    return column


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("int32", lambda r: {"matrix_NM": r.matrix_NM.astype(np.int64)}),
        ("above 0", lambda r: {"matrix_NM": spoil(r.matrix_NM, (1, 1), 1)}),
        ("uid_N has shape", lambda r: {"uid_N": r.uid_N[:-1]}),
        ("stratum_M has shape", lambda r: {"stratum_M": r.stratum_M[:-1]}),
        ("manifest hashes", lambda r: {"manifests": r.manifests[:-1]}),
        ("row 0", lambda r: {"member_N": spoil(r.member_N, 0, False)}),
        ("row 0", lambda r: {"uid_N": spoil(r.uid_N, 0, 7)}),
        ("never new", lambda r: {"new_N": spoil(r.new_N, 0, True)}),
        ("at most one", lambda r: {"uid_N": spoil(r.uid_N, 2, r.uid_N[3])}),
        ("fold_M must", lambda r: {"fold_M": spoil(r.fold_M, 0, 2)}),
        ("two folds", lambda r: {"fold_M": spoil(r.fold_M, 0, 1 - r.fold_M[0])}),
        ("stratum_M must", lambda r: {"stratum_M": spoil(r.stratum_M, 0, 3)}),
        ("at least one byte", lambda r: {"bytes_M": spoil(r.bytes_M, 0, 0)}),
        ("fold 1 has 0 documents", lambda r: {"fold_M": np.zeros_like(r.fold_M)}),
    ],
)
def test_columns_that_contradict_are_refused(rounds, sentence, change):
    round_ = rounds(["first"], ["second", "third"])
    with pytest.raises(RoundError, match=sentence):
        replace(round_, **change(round_))

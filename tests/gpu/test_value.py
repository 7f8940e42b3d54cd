"""Values on a GPU are those of a CPU, up to rounding, whether the probabilities are kept or computed in every pass."""

import numpy as np
import pytest
import torch

import models.value.table
from models.bench.value import make_rows
from models.value import in_order, leave_one_out, nearest, new_bits, shares
from models.value.fit import TOLERANCE
from models.value.measures import make_table

ROWS, EVENTS = 24, 16_384


@pytest.fixture(scope="module")
def rows():
    """Rows beside a baseline, one with impossible events and one that is a copy; columns; both for a CPU."""
    rows_NM, baseline_M = make_rows(ROWS, EVENTS, torch.device("cpu"))
    rows_NM[3, ::100] = -torch.inf
    rows_NM[9] = rows_NM[5]
    columns = {"stratum_M": np.arange(EVENTS) % 2048 // 1024, "block_M": np.arange(EVENTS) // 64}
    return rows_NM, baseline_M, columns


@pytest.mark.parametrize("measure", [shares, new_bits, in_order, leave_one_out])
def test_values_are_those_of_a_cpu(device, rows, measure):
    rows_NM, baseline_M, columns = rows
    few_NM = rows_NM if measure in (shares, new_bits) else rows_NM[:6]
    there = measure(few_NM, baseline_M, **columns)
    for given in (few_NM.to(device), few_NM.numpy()):
        here = measure(given, baseline_M, **columns, device=device)
        np.testing.assert_allclose(here.bits_N, there.bits_N, rtol=0, atol=1e-9)
        np.testing.assert_allclose(here.se_N, there.se_N, rtol=0, atol=1e-9)
        assert abs(here.gain - there.gain) <= 1e-9
        assert getattr(here, "certificate", 0.0) <= TOLERANCE


def test_what_is_not_kept_gives_the_same(device, rows, monkeypatch):
    rows_NM, baseline_M, columns = rows
    kept = shares(rows_NM.to(device), baseline_M, **columns, device=device)
    monkeypatch.setattr(models.value.table, "kept_bytes", lambda device: 1 << 16)
    monkeypatch.setattr(models.value.table, "piece_size", lambda device: 1 << 15)
    again = shares(rows_NM.to(device), baseline_M, **columns, device=device)
    np.testing.assert_allclose(again.bits_N, kept.bits_N, rtol=0, atol=1e-9)
    np.testing.assert_allclose(again.se_N, kept.se_N, rtol=0, atol=1e-9)


def test_a_cpu_values_what_is_on_a_gpu(device, rows):
    rows_NM, baseline_M, columns = rows
    there = shares(rows_NM, baseline_M, **columns)
    np.testing.assert_array_equal(shares(rows_NM.to(device), baseline_M, **columns).bits_N, there.bits_N)


def test_the_nearest_are_those_of_a_cpu(device, rows):
    rows_NM, _, _ = rows
    (here_N, near_N), (_, bits_N) = nearest(rows_NM.to(device), device=device), nearest(rows_NM)
    assert (here_N[5], here_N[9]) == (9, 5)
    np.testing.assert_allclose(near_N, bits_N, rtol=0, atol=1e-6)


def test_probabilities_are_kept_where_there_is_room(device, rows):
    rows_NM, baseline_M, _ = rows
    table = make_table(rows_NM.to(device), baseline_M, device=device)
    assert sum(piece.shape[1] for piece in table.pieces([(0, EVENTS)])) == EVENTS
    assert table.passes == 1

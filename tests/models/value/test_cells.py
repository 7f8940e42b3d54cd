from dataclasses import replace

import numpy as np

from models.value.cells import flat_cells, out_of_fold_cells


def test_every_event_is_used_once_with_weights_of_other_documents(rounds):
    round_ = rounds(["first"], ["second"])
    cells = out_of_fold_cells(round_)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([cell.use_M for cell in cells])), np.arange(round_.fold_M.size)
    )
    for cell in cells:
        assert not np.intersect1d(round_.document_M[cell.fit_M], round_.document_M[cell.use_M]).size
        assert set(round_.fold_M[cell.fit_M].tolist()) == {cell.fold}
        assert cell.fit_M.size


def test_thin_and_missing_strata_take_the_weights_of_all_strata(rounds):
    round_ = rounds(["first"], ["second"])
    moved = round_.document_M == round_.document_M[0]
    stratum_M = np.where(moved, 3, round_.stratum_M)
    thin = replace(round_, stratum_M=stratum_M, strata=(*round_.strata, "thin", "missing"))
    for fold in (0, 1):
        pooled = [cell for cell in out_of_fold_cells(thin) if cell.fold == fold and 3 in cell.strata]
        assert len(pooled) == 1
        assert 4 in pooled[0].strata
        np.testing.assert_array_equal(pooled[0].fit_M, np.flatnonzero(thin.fold_M == fold))
    assert sum(4 in cell.strata for cell in flat_cells(thin)) == 1
    assert {stratum for cell in flat_cells(thin) for stratum in cell.strata} == {0, 1, 2, 3, 4}

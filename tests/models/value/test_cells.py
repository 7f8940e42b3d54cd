from dataclasses import replace

import numpy as np
import pytest

from models.value.cells import flat_cells, out_of_fold_cells
from models.value.errors import RoundError
from models.value.events import make_events


def events_of(spans):
    return np.concatenate([np.arange(begin, end) for begin, end in spans])


def test_every_event_is_used_once_with_weights_of_other_documents(rounds):
    events = rounds(["first"], ["second"]).events.ordered()
    cells = out_of_fold_cells(events)
    used = np.sort(np.concatenate([events_of(cell.use) for cell in cells]))
    np.testing.assert_array_equal(used, np.arange(events.fold_M.size))
    for cell in cells:
        fitted = events_of(cell.fit)
        assert fitted.size
        assert not np.intersect1d(events.block_M[fitted], events.block_M[events_of(cell.use)]).size
        assert set(events.fold_M[fitted].tolist()) == {cell.fold}
        assert set(events.stratum_M[events_of(cell.use)].tolist()) <= set(cell.strata)


def test_thin_and_missing_strata_take_the_weights_of_all_strata(rounds):
    round_ = rounds(["first"], ["second"])
    moved = round_.document_M == round_.document_M[0]
    stratum_M = np.where(moved, 3, round_.stratum_M)
    thin = replace(round_, stratum_M=stratum_M, strata=(*round_.strata, "thin", "missing")).events.ordered()
    for fold in (0, 1):
        pooled = [cell for cell in out_of_fold_cells(thin) if cell.fold == fold and 3 in cell.strata]
        assert len(pooled) == 1
        assert 4 in pooled[0].strata
        np.testing.assert_array_equal(events_of(pooled[0].fit), np.flatnonzero(thin.fold_M == fold))
    assert sum(4 in cell.strata for cell in flat_cells(thin)) == 1
    assert {stratum for cell in flat_cells(thin) for stratum in cell.strata} == {0, 1, 2, 3, 4}


def test_a_fold_without_events_is_refused():
    with pytest.raises(RoundError, match="fold 1 has no events"):
        out_of_fold_cells(make_events(10, block_M=np.zeros(10, int)).ordered())

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.value.collective import whole_weights
from models.value.rounds import next_collective, table_of
from models.value.valuation import evaluate


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 100))
def test_whole_weights_sum_to_65535(seed, rows):
    weights = np.random.default_rng(seed).dirichlet(np.full(rows, 0.1))
    whole = whole_weights(weights.tolist())
    assert sum(whole) == 65535
    np.testing.assert_allclose(np.array(whole) / 65535, weights, atol=1 / 65535)


def test_members_and_admitted_versions_take_part(rounds):
    collective = evaluate(rounds(["first", "second"], ["third", "code"]), {}, ()).collective
    assert {2, 3} <= set(collective.uids)
    assert collective.weights_SC.dtype == np.uint16
    assert (collective.weights_SC.sum(axis=1) == 65535).all()
    assert collective.uids[0] == -1


def test_versions_without_weight_or_admission_are_left_out(rounds, text):
    clone = text.probability["second"]
    round_ = rounds(
        ["first", "second", "clone"], ["untrained", "third"], clone=clone, untrained=np.full_like(clone, 1 / 256)
    )
    collective = evaluate(round_, {}, ()).collective
    assert not {2, 3} & set(collective.uids)
    assert collective.manifests == tuple(round_.manifests[row] for row in collective.rows)


def test_the_baseline_stays_without_weight(rounds):
    round_ = rounds(["third"], [])
    collective = next_collective(round_, table_of(round_), np.zeros(0, dtype=np.intp))
    assert collective.uids == (-1, 0)
    assert (collective.weights_SC.sum(axis=1) == 65535).all()

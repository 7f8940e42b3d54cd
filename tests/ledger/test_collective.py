"""The next collective: stake-weighted means in whole numbers, floors, sizes and ties."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.entries import Collective, Revealed
from ledger.epoch.collective import BASELINE, BASELINE_ALONE, compute_collective
from ledger.epoch.fixed import ONE_Q31
from ledger.extrinsics import BASELINE_MANIFEST, BASELINE_UID, Member
from ledger.parameters import Parameters

A, B, C = (b"a" * 32), (b"b" * 32), (b"c" * 32)


def proposal(strata: tuple[str, ...], *rows: tuple[int, bytes, tuple[int, ...]]) -> Revealed:
    members = tuple(Member(uid=uid, manifest=manifest, weights=weights) for uid, manifest, weights in rows)
    return Revealed(uids=(), values=(), evidence=bytes(32), strata=strata, members=members, rounds=(), height=1)


def weights(collective: Collective) -> dict[tuple[int, bytes], tuple[int, ...]]:
    return {(member.uid, member.manifest): member.weights for member in collective.members}


def test_weights_are_the_stake_weighted_mean_of_normalised_columns():
    proposals = [
        (3, proposal(("code", "text"), (1, A, (100, 0)), (BASELINE_UID, BASELINE_MANIFEST, (100, 7)))),
        (1, proposal(("code", "text"), (1, A, (9, 9)), (2, B, (0, 9)))),
    ]
    merged = compute_collective(proposals, BASELINE_ALONE, Parameters())
    assert merged.strata == ("code", "text")
    assert weights(merged) == {
        (1, A): (ONE_Q31 * 5 // 8, ONE_Q31 // 8),
        (2, B): (0, ONE_Q31 // 8),
        BASELINE: (ONE_Q31 * 3 // 8, ONE_Q31 * 3 // 4),
    }


def test_without_weight_behind_it_nothing_changes():
    empty = proposal(("code",))
    zero = proposal(("code",), (1, A, (0,)))
    for proposals in ([], [(5, empty)], [(5, zero)], [(0, proposal(("code",), (1, A, (1,))))]):
        assert compute_collective(proposals, BASELINE_ALONE, Parameters()) is BASELINE_ALONE


def test_members_below_the_floor_in_every_stratum_are_left_out():
    rows = [(1, A, (1, 10)), (2, B, (1, 1)), (BASELINE_UID, BASELINE_MANIFEST, (1998, 1998))]
    merged = compute_collective([(1, proposal(("code", "text"), *rows))], BASELINE_ALONE, Parameters())
    assert list(weights(merged)) == [(1, A), BASELINE]


def test_the_largest_are_kept_ties_to_the_lower_uid_then_manifest_and_the_baseline_always():
    rows = [(1, A, (5,)), (1, B, (5,)), (2, A, (5,)), (3, C, (6,)), (BASELINE_UID, BASELINE_MANIFEST, (0,))]
    merged = compute_collective([(1, proposal(("code",), *rows))], BASELINE_ALONE, Parameters(collective_size=2))
    assert list(weights(merged)) == [(1, A), (3, C), BASELINE]
    assert weights(merged)[BASELINE] == (0,)


def test_a_minority_of_stake_adds_no_stratum():
    proposals = [
        (2, proposal(("code",), (1, A, (5,)))),
        (1, proposal(("code", "mine"), (1, A, (5, 5)))),
        (1, proposal(("text",), (1, A, (5,)))),
    ]
    assert compute_collective(proposals, BASELINE_ALONE, Parameters()).strata == ("code",)


rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([A, B]), st.tuples(*[st.integers(0, 65535)] * 2)), max_size=8
)


@given(st.lists(st.tuples(st.integers(0, 10**16), rows), max_size=5), st.randoms(use_true_random=False))
def test_every_column_sums_to_one_whatever_is_proposed_in_whatever_order(given_proposals, order):
    proposals = []
    for stake_rao, members in given_proposals:
        unique = {(uid, manifest): (uid, manifest, row) for uid, manifest, row in members}
        proposals.append((stake_rao, proposal(("code", "text"), *unique.values())))
    merged = compute_collective(proposals, BASELINE_ALONE, Parameters(collective_size=3))
    assert len(merged.members) <= 4
    assert BASELINE in weights(merged)
    for column in zip(*weights(merged).values(), strict=True):
        assert sum(column) == ONE_Q31
    order.shuffle(proposals)
    assert compute_collective(proposals, BASELINE_ALONE, Parameters(collective_size=3)) == merged

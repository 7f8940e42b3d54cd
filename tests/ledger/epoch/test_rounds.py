"""Rounds of cohorts, purely: medians, agreement, acceptance, sums, and what a minority of stake can't do."""

from fractions import Fraction

import hypothesis.strategies as st
from hypothesis import given, settings

from ledger.entries import Accepted, Cohort, Contribution, Revealed
from ledger.epoch.cohorts import accept, agreed, compute_cohorts, compute_round, decay, medians, weighted_median
from ledger.extrinsics import RoundVote, UpdateValue
from ledger.units import NANO_BITS_MAX

THETA, OTHER, MANIFEST = b"\1" * 32, b"\2" * 32, b"\3" * 32
COHORT = b"\4" * 32
values = st.integers(-NANO_BITS_MAX, NANO_BITS_MAX)
pairs = st.lists(st.tuples(st.integers(0, 10**16), st.one_of(st.integers(-2, 2), values)), max_size=7)
uids = st.lists(st.integers(0, 5), unique=True, max_size=5).map(sorted)
said = st.dictionaries(st.integers(0, 5), values, max_size=5)


def listed(worth: dict[int, int]) -> tuple[UpdateValue, ...]:
    return tuple(UpdateValue(uid=uid, value=value) for uid, value in sorted(worth.items()))


def vote(
    worth: dict[int, int], applied: dict[int, int] | None = None, parameters: bytes = THETA, cohort: bytes = COHORT
) -> RoundVote:
    return RoundVote(
        cohort=cohort, parameters=parameters, manifest=MANIFEST, values=listed(worth), applied=listed(applied or {})
    )


def reveal(*rounds: RoundVote) -> Revealed:
    return Revealed(uids=(), values=(), evidence=bytes(32), strata=("a",), members=(), rounds=rounds, height=1)


def row(epoch: int = 1, accepted: tuple[Accepted, ...] = (), sums: dict[int, int] | None = None) -> Cohort:
    return Cohort(epoch=epoch, parameters=OTHER, manifest=OTHER, accepted=accepted, sums=listed(sums or {}))


votes = st.one_of(st.none(), st.builds(vote, said, said, st.sampled_from((THETA, OTHER))))


@given(pairs)
def test_the_median_is_the_smallest_value_that_half_of_the_weight_does_not_exceed(weighted):
    total = sum(weight for weight, _ in weighted)
    slow = [
        value
        for _, value in weighted
        if total and Fraction(sum(weight for weight, other in weighted if other <= value), total) >= Fraction(1, 2)
    ]
    assert weighted_median(weighted) == min(slow, default=0)
    assert weighted_median(weighted[::-1]) == weighted_median(weighted)


def test_of_two_equal_stakes_the_smaller_value_is_the_median():
    assert weighted_median([(5, 9), (5, -1)]) == -1
    assert weighted_median([(5, 9), (4, -1)]) == 9
    assert weighted_median([(0, 9), (0, 8)]) == weighted_median([]) == 0


def test_silence_about_an_update_is_a_zero():
    assert medians([(3, {1: 5}), (2, {})], [1, 2]) == {1: 5, 2: 0}
    assert medians([(2, {1: 5}), (3, {})], [1]) == {1: 0}
    assert medians([(2, {1: -5}), (1, {})], [1]) == {1: -5}


def test_what_stands_needs_more_than_half_of_the_stake_that_revealed():
    first, second = (THETA, MANIFEST), (OTHER, MANIFEST)
    assert agreed([(5, first), (4, second)]) == first
    assert agreed([(5, first), (5, second)]) is None
    assert agreed([(5, first), (5, None)]) is None
    assert agreed([(5, (THETA, MANIFEST)), (5, (THETA, OTHER)), (1, None)]) is None
    assert agreed([(0, first)]) is None
    assert agreed([]) is None


@given(
    honest=st.lists(st.integers(1, 10**15), min_size=1, max_size=4),
    hostile=st.lists(st.tuples(st.integers(0, 10**15), votes), max_size=4),
    worth=st.integers(-3, 3),
)
@settings(max_examples=200)
def test_a_minority_of_stake_neither_carries_nor_stops_anything(honest, hostile, worth):
    share = Fraction(sum(honest) - 1, max(1, sum(stake for stake, _ in hostile)))
    minority = [(int(stake * min(share, 1)), said) for stake, said in hostile]
    assert sum(stake for stake, _ in minority) < sum(honest)
    said = vote({1: worth, 2: -worth}, {3: worth, 4: -worth})
    before = row(accepted=tuple(Accepted(uid=uid, payload=bytes(32)) for uid in (3, 4)))
    payloads = {uid: (THETA, bytes([uid]) * 32) for uid in (1, 2)}
    together = compute_round([*((stake, said) for stake in honest), *minority], before, payloads, 2)
    assert together is not None
    assert (together.parameters, together.manifest) == (THETA, MANIFEST)
    alone = compute_round([(stake, said) for stake in honest], before, payloads, 2)
    assert (
        together.accepted
        == alone.accepted
        == tuple(Accepted(uid=uid, payload=bytes([uid]) * 32) for uid in (1, 2) if (worth if uid == 1 else -worth) > 0)
    )
    assert {each.uid for each in together.sums} <= ({3} if worth > 0 else {4} if worth < 0 else set())


@given(weighted=st.lists(st.tuples(st.integers(0, 9), votes), max_size=5), known=uids, before=st.booleans())
def test_a_round_keeps_its_promises_whatever_is_said(weighted, known, before):
    old = row(accepted=(Accepted(uid=0, payload=OTHER), Accepted(uid=1, payload=OTHER, left=True)), sums={0: 7, 5: 1})
    payloads = {uid: (THETA if uid % 2 else OTHER, bytes([uid]) * 32) for uid in known}
    new = compute_round(weighted, old if before else None, payloads, 9)
    if new is None:
        return
    assert new == compute_round(weighted[::-1], old if before else None, payloads, 9)
    accepted = [each.uid for each in new.accepted]
    assert accepted == sorted(accepted)
    assert all(payloads[each.uid] == (new.parameters, each.payload) and not each.left for each in new.accepted)
    earned = {each.uid: each.value for each in new.sums}
    assert list(earned) == sorted(earned)
    assert all(0 < value <= NANO_BITS_MAX for value in earned.values())
    assert set(earned) <= ({0} if before else set())
    for uid in accepted:
        above = sum(stake for stake, said in weighted if said and said.parameters == new.parameters
                    and any(each.uid == uid and each.value > 0 for each in said.values))  # fmt: skip
        assert 2 * above > sum(stake for stake, _ in weighted)


def test_values_at_other_parameters_do_not_count():
    said = [(6, vote({1: 5, 2: 5})), (5, vote({1: 5, 2: 5}, parameters=OTHER))]
    new = compute_round(said, None, {1: (THETA, b"\1" * 32), 2: (OTHER, b"\2" * 32)}, 1)
    assert new is not None
    assert new.accepted == (Accepted(uid=1, payload=b"\1" * 32),)
    three = [(3, vote({1: 5})), (3, vote({1: -5})), (5, vote({1: 5}, parameters=OTHER))]
    assert compute_round(three, None, {1: (THETA, b"\1" * 32)}, 1).accepted == ()


def test_sums_decay_by_a_tenth_and_forget_what_is_negative():
    assert decay(listed({1: 10, 2: 1, 3: 99}), {1: -5, 3: 1, 4: 7, 5: 0}) == listed({1: 9, 3: 90, 4: 7})
    assert decay(listed({1: NANO_BITS_MAX}), {1: NANO_BITS_MAX}) == listed({1: NANO_BITS_MAX})
    sums = listed({1: 10**9})
    for _ in range(400):
        sums = decay(sums, {})
    assert sums == ()


def test_without_agreement_the_row_stays():
    before = {COHORT: row(accepted=(Accepted(uid=1, payload=OTHER),), sums={1: 5})}
    contributions = {2: Contribution(cohort=COHORT, epoch=2, parameters=THETA, payload=OTHER, place=1)}
    torn = [(1, reveal(vote({2: 1}, {1: 9}))), (1, reveal(vote({2: 1}, {1: 9}, parameters=OTHER)))]
    assert compute_cohorts(torn, before, contributions, 2, 16) == before
    assert compute_cohorts([], before, contributions, 2, 16) == before
    whole = compute_cohorts(torn[:1], before, contributions, 2, 16)[COHORT]
    assert whole.accepted == (Accepted(uid=2, payload=OTHER),)
    assert whole.sums == listed({1: 4 + 9})


def test_the_cohort_that_is_idle_for_longest_makes_room():
    names = [bytes([letter]) * 32 for letter in range(4)]
    before = {name: row(epoch=epoch) for name, epoch in zip(names[:3], (5, 3, 4), strict=True)}
    after = compute_cohorts([(1, reveal(vote({}, cohort=names[3])))], before, {}, 6, 3)
    assert list(after) == [names[0], names[2], names[3]]
    assert accept([(1, {})], []) == []

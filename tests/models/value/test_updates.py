"""Values of updates as whole numbers, and who of a cohort is paid."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.value.accounts import NANO, divide_among, keep_books
from models.value.errors import EvidenceError
from models.value.updates import (
    LARGEST_VALUE,
    Bits,
    Weighing,
    audit_weighings,
    check_weighings,
    claims_of,
    whole_values,
)

BITS = st.floats(-1e6, 1e6)
AMOUNTS = st.dictionaries(st.integers(0, 9), st.integers(0, 10**9), max_size=6)


def make_weighing(**changes):
    first, applied, bytes_G = Bits([1, 2], [[8.0, 4.0], [-1.0, 0.5]]), Bits([1, 3], [[1.0, 1.0], [-2.0, 0.0]]), [50, 50]
    weighing = Weighing(
        cohort=b"c" * 32,
        parameters=b"p" * 32,
        manifest=b"m" * 32,
        sums_before={3: 1001, 4: 10},
        earning=[1, 3],
        window=[0, 2, 5],
        group=[0, 0, 1],
        bytes_G=bytes_G,
        first=first,
        applied=applied,
        refused={4: "copy"},
        values=whole_values(first, bytes_G),
        applied_values=whole_values(applied, bytes_G),
    )
    return msgspec.structs.replace(weighing, **changes)


def test_values_are_bits_per_byte():
    weighing = make_weighing()
    assert weighing.values == {1: 120_000_000, 2: -5_000_000}
    assert weighing.applied_values == {1: 20_000_000, 3: -20_000_000}


@given(st.lists(BITS, min_size=1, max_size=8), st.randoms())
def test_values_do_not_depend_on_the_order_of_groups(bits_G, random):
    shuffled_G = random.sample(bits_G, len(bits_G))
    bytes_G = [7] * len(bits_G)
    assert whole_values(Bits([0], [bits_G]), bytes_G) == whole_values(Bits([0], [shuffled_G]), bytes_G)


@given(st.lists(BITS, min_size=1, max_size=8))
def test_the_opposite_update_has_the_opposite_value(bits_G):
    values = whole_values(Bits([0, 1], [bits_G, [-bits for bits in bits_G]]), [3] * len(bits_G))
    assert values[0] == -values[1]


@pytest.mark.parametrize("bits", [1e300, -1e300])
def test_values_stay_within_what_the_ledger_takes(bits):
    assert whole_values(Bits([0], [[bits]]), [1]) == {0: round(np.sign(bits) * LARGEST_VALUE) * NANO}


def test_claims_are_what_stays_of_the_sum_and_the_positive_of_the_applied_value():
    assert claims_of(make_weighing()) == {1: 20_000_000, 3: 900, 4: 9}


def test_who_left_earns_nothing_by_what_was_accepted():
    assert claims_of(make_weighing(earning=[3])) == {3: 900, 4: 9}


def test_a_cohorts_credit_goes_to_its_members_and_others_keep_theirs():
    members = {5: {1: 1, 2: 3}}
    books = keep_books(
        gain=1000, gain_se=0, new_bits={5: 3, 2: 1}, new_bits_se={5: 0, 2: 0}, accounts_before={}, answered=[1, 2, 5],
        members=members,
    )  # fmt: skip
    assert books.credits == {1: 188, 2: 812}
    assert books.accounts == {1: 188, 2: 812}
    assert books.votes == {1: 65535 * 188 // 812, 2: 65535}
    assert books.new_bits == {2: 1, 5: 3}, "what the version brings stays with who published it"


def test_while_no_update_was_worth_anything_nobody_of_the_cohort_is_paid():
    books = keep_books(
        gain=1000,
        gain_se=0,
        new_bits={5: 3},
        new_bits_se={5: 0},
        accounts_before={1: 7},
        answered=[1, 5],
        members={5: {}},
    )
    assert books.credits == {}
    assert set(books.accounts) <= {1}


@given(AMOUNTS, st.dictionaries(st.integers(0, 9), AMOUNTS, max_size=3))
def test_dividing_pays_no_more_and_no_less_than_was_earned(credits, members):
    paid = divide_among(credits, members)
    dropped = sum(credit for uid, credit in credits.items() if uid in members and not sum(members[uid].values()))
    assert sum(paid.values()) == sum(credits.values()) - dropped
    assert all(credit > 0 for credit in paid.values())


def test_a_sound_word_passes_and_a_changed_value_does_not():
    sound = make_weighing()
    check_weighings([sound], 6)
    assert audit_weighings([sound]) == []
    changed = msgspec.structs.replace(sound, applied_values={1: 20_000_001, 3: -20_000_000})
    assert audit_weighings([sound, changed]) == [
        f"the values of cohort {sound.cohort.hex()[:16]} do not follow from the recorded bits"
    ]


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        ("not of 32 bytes", {"cohort": b"c"}),
        ("which group", {"group": [0, 0, 2]}),
        ("which group", {"window": [0, 2]}),
        ("not asked about", {"window": [0, 2, 6]}),
        ("no text", {"bytes_G": [50, 0]}),
        ("one value for each", {"first": Bits([1, 2], [[1.0, 2.0]])}),
        ("one value for each", {"applied": Bits([1], [[1.0]])}),
        ("no number", {"first": Bits([1], [[1.0, float("inf")]])}),
        ("do not ascend", {"earning": [3, 1]}),
        ("do not ascend", {"values": {2: 1, 1: 1}}),
        ("below 0", {"sums_before": {3: -1}}),
    ],
)
def test_words_that_contradict_themselves_are_refused(sentence, changes):
    with pytest.raises(EvidenceError, match=sentence):
        check_weighings([make_weighing(**changes)], 6)


def test_a_cohort_has_one_round():
    with pytest.raises(EvidenceError, match="each once"):
        check_weighings([make_weighing(), make_weighing()], 6)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.value.accounts import (
    FULL_CREDIT,
    NANO,
    approach,
    divide_largest_remainder,
    fade,
    keep_books,
    median_accounts,
    votes,
)

amounts = st.integers(0, 10**12)
by_uid = st.dictionaries(st.integers(0, 255), amounts, max_size=20)


@settings(max_examples=50, deadline=None)
@given(account=amounts)
def test_an_account_does_not_fade_while_nobody_learns(account):
    assert fade(account, 0) == account


@settings(max_examples=50, deadline=None)
@given(account=amounts, credit=amounts, more=amounts)
def test_fading_is_bounded_and_grows_with_the_credit(account, credit, more):
    assert 0 <= fade(account, credit + more) <= fade(account, credit) <= account
    assert fade(account, FULL_CREDIT + more) == fade(account, FULL_CREDIT)


def test_a_royalty_halves_in_twelve_epochs_of_learning():
    account = NANO
    for _ in range(12):
        account = fade(account, FULL_CREDIT)
    assert account == pytest.approx(NANO // 2, abs=20)


@settings(max_examples=50, deadline=None)
@given(total=amounts, claims=st.lists(amounts, min_size=1, max_size=30))
def test_credits_sum_exactly_and_differ_by_less_than_one(total, claims):
    parts = divide_largest_remainder(total, claims)
    if not sum(claims):
        assert parts == [0] * len(claims)
        return
    assert sum(parts) == total
    assert all(abs(part * sum(claims) - total * claim) < sum(claims) for part, claim in zip(parts, claims, strict=True))


def test_ties_of_the_remainder_go_to_the_earlier():
    assert divide_largest_remainder(5, [1, 1, 1]) == [2, 2, 1]


@settings(max_examples=50, deadline=None)
@given(accounts=by_uid, answered=st.sets(st.integers(0, 255)))
def test_votes_are_of_those_who_answered(accounts, answered):
    cast = votes(accounts, answered)
    present = {uid: amount for uid, amount in accounts.items() if uid in answered and amount}
    assert cast.keys() <= present.keys()
    if present:
        assert cast[max(present, key=lambda uid: present[uid])] == 65535


def test_no_accounts_are_an_empty_row():
    assert votes({}, {1, 2}) == {}
    assert votes({3: 5}, {1, 2}) == {}


def test_credit_is_the_gain_less_two_errors_in_proportion_to_positive_bits():
    books = keep_books(
        gain=1000,
        gain_se=100,
        new_bits={7: 900, 3: -200, 5: 300},
        new_bits_se={},
        accounts_before={3: 50},
        answered={3, 7},
    )
    assert books.credit_total == 800
    assert books.credits == {5: 200, 7: 600}
    assert books.accounts == {3: fade(50, 800), 5: 200, 7: 600}
    assert books.votes == {3: 65535 * fade(50, 800) // 600, 7: 65535}


def test_a_gain_within_its_error_credits_nobody_and_fades_nothing():
    books = keep_books(gain=100, gain_se=60, new_bits={1: 100}, new_bits_se={}, accounts_before={2: 9}, answered={1, 2})
    assert books.credit_total == 0
    assert books.credits == {}
    assert books.accounts == {2: 9}


def test_a_remote_peers_account_follows_what_it_adds_whatever_others_bring():
    books = keep_books(
        gain=10**8,
        gain_se=0,
        new_bits={1: 10**8},
        new_bits_se={1: 5},
        accounts_before={4: 0, 6: 1000, 8: 1000},
        answered={1, 4, 6},
        remote_bits={4: 10**8, 6: 0},
        remote_bits_se={4: 10**6, 6: 7},
    )
    assert books.credits == {1: 10**8}
    assert books.remote_credits == {4: 98 * 10**6, 6: 0}
    assert books.new_bits == {1: 10**8, 4: 10**8, 6: 0}
    assert books.new_bits_se == {1: 5, 4: 10**6, 6: 7}
    faded = fade(1000, FULL_CREDIT)
    assert books.accounts == {1: 10**8, 4: approach(0, 98 * 10**6), 6: faded, 8: faded}
    assert books.votes == {1: 65535, 4: 65535 * approach(0, 98 * 10**6) // 10**8}


@settings(max_examples=50, deadline=None)
@given(account=amounts, credit=amounts)
def test_an_account_approaches_the_credit_and_never_passes_it(account, credit):
    after = approach(account, credit)
    assert min(account, credit) - 2 <= after <= max(account, credit)
    assert approach(account, credit + 1) >= after


@settings(max_examples=50, deadline=None)
@given(accounts=by_uid, remote=by_uid, answered=st.sets(st.integers(0, 255)))
def test_remote_peers_change_no_other_account(accounts, remote, answered):
    common = {"gain": 10**6, "gain_se": 10, "new_bits": {}, "new_bits_se": {}}
    alone = keep_books(**common, accounts_before=accounts, answered=answered)
    errors = dict.fromkeys(remote, 3)
    beside = keep_books(
        **common, accounts_before=accounts, answered=answered, remote_bits=remote, remote_bits_se=errors
    )
    others = {uid: amount for uid, amount in beside.accounts.items() if uid not in remote}
    assert others == {uid: amount for uid, amount in alone.accounts.items() if uid not in remote}
    assert (beside.gain, beside.credit_total, beside.credits) == (alone.gain, alone.credit_total, alone.credits)


def test_a_new_validator_starts_from_the_stake_weighted_median():
    accounts = [{1: 10, 2: 5}, {1: 30}, {1: 20, 2: 7}]
    assert median_accounts(accounts, [1, 1, 1]) == {1: 20, 2: 5}
    assert median_accounts(accounts, [10, 1, 1]) == {1: 10, 2: 5}
    assert median_accounts(accounts, [1, 10, 1]) == {1: 30}
    assert median_accounts([], []) == {}


@settings(max_examples=50, deadline=None)
@given(accounts=st.lists(by_uid, min_size=1, max_size=7), data=st.data())
def test_less_than_half_the_stake_cannot_lift_a_median(accounts, data):
    honest = {1: 100}
    stakes = data.draw(st.lists(st.integers(1, 10**12), min_size=len(accounts), max_size=len(accounts)))
    medians = median_accounts([honest, *accounts], [sum(stakes) + 1, *stakes])
    assert medians == honest

"""Remote peers: measured every epoch on top of the members and of the remote peers before them, and paid once."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from models.value.accounts import FULL_CREDIT, LAMBDA_DENOMINATOR, LAMBDA_NUMERATOR, approach, fade
from models.value.errors import RoundError
from models.value.valuation import evaluate

pytestmark = pytest.mark.thorough

MEMBERS = ("first",)


def evaluate_all(round_, accounts_before=None):
    return evaluate(round_, accounts_before or {}, set(round_.uid_N.tolist()))


def of_uid(valuation, uid):
    """What is told of a neuron whatever the others do: bits, error, credit and account."""
    books = valuation.books
    tables = (books.new_bits, books.new_bits_se, books.credits, books.remote_credits, books.accounts)
    return tuple(table.get(uid) for table in tables)


def noise_of(text, name, seed, size=0.3):
    """A model of the text with noise in every answer: what comes gets another probability each time."""
    rng = np.random.default_rng(seed)
    said = text.distribution[name] * np.exp(size * rng.standard_normal(text.distribution[name].shape, np.float32))
    return (said / said.sum(axis=1, keepdims=True))[np.arange(len(text.next_M)), text.next_M]


def test_a_remote_peer_is_paid_what_it_adds_and_its_account_goes_there(rounds):
    valuation = evaluate_all(rounds(MEMBERS, [], ["second"]), {0: 7, 1: 10**8})
    bits, bits_se = (
        round(figure[0] * 1e9) for figure in (valuation.values.remote_gain_P, valuation.values.remote_gain_se_P)
    )
    credit = bits - 2 * bits_se
    assert bits > 3 * bits_se > 0
    assert valuation.books.remote_credits == {1: credit}
    added = (LAMBDA_DENOMINATOR - LAMBDA_NUMERATOR) * credit // LAMBDA_DENOMINATOR
    assert valuation.books.accounts == {0: 7, 1: fade(10**8, FULL_CREDIT) + added}
    assert (valuation.books.gain, valuation.books.credit_total, valuation.books.credits) == (0, 0, {})


def test_an_account_settles_at_what_the_remote_peer_adds(rounds):
    round_, accounts = rounds(MEMBERS, [], ["second"]), {}
    credit = evaluate_all(round_).books.remote_credits[1]
    for _ in range(400):
        accounts = {1: approach(accounts.get(1, 0), credit)}
    assert accounts[1] == pytest.approx(credit, abs=40)


def test_what_a_remote_peer_knows_stays_out_of_the_next_collective(rounds):
    valuation = evaluate_all(rounds(MEMBERS, ["third"], ["second"]))
    assert valuation.fitted.kept_P.tolist() == [True]
    assert 1 not in valuation.collective.uids
    assert 2 in valuation.collective.uids
    assert valuation.values.share_bits_N[2] > 0, "it is told whose today's answers are"


def test_gains_telescope_so_that_all_are_paid_for_what_all_know(rounds):
    values = evaluate_all(rounds(MEMBERS, [], ["second", "third", "code"])).values
    alone = evaluate_all(rounds(MEMBERS, [])).values
    assert values.remote_gain_P.sum() == pytest.approx(alone.known_bits_per_byte - values.known_bits_per_byte, abs=1e-9)


def test_without_its_row_a_remote_peer_changes_nothing(rounds):
    alone = evaluate_all(rounds(MEMBERS, ["third"]), {0: 5})
    silent = evaluate_all(rounds(MEMBERS, ["third"], []), {0: 5, 9: 10**6})
    assert silent.values.gain == alone.values.gain
    assert silent.books.accounts == alone.books.accounts | {9: fade(10**6, alone.books.credit_total)}


def test_a_student_of_a_remote_peer_is_not_paid(rounds, text):
    student = 0.97 * text.probability["third"] + 0.03 * text.probability["first"]
    paid = evaluate_all(rounds(MEMBERS, ["student"], student=student)).books.credit_total
    valuation = evaluate_all(rounds(MEMBERS, ["student"], ["third"], student=student))
    assert paid > 10**8
    assert valuation.books.credit_total < paid / 1000
    assert valuation.books.remote_credits[1] > 10**8


def test_a_noisy_student_of_a_remote_peer_is_not_paid(rounds, text):
    student = noise_of(text, "second", 3)
    paid = evaluate_all(rounds(MEMBERS, ["student"], student=student)).books.credit_total
    valuation = evaluate_all(rounds(MEMBERS, ["student"], ["second"], student=student))
    assert paid > 10**8
    assert valuation.books.credit_total < paid / 1000


def test_who_knows_what_others_know_too_is_paid_for_the_rest(rounds, text):
    """A hosted version beside a remote peer gets what it adds to it, and no more."""
    alone = evaluate_all(rounds(MEMBERS, ["third"])).books.credits[1]
    beside = evaluate_all(rounds(MEMBERS, ["third"], ["second"]))
    assert 0 < beside.books.credits[2] < alone


def test_a_copy_of_a_remote_peer_earns_exactly_nothing(rounds, text):
    alone = evaluate_all(rounds(MEMBERS, [], ["second"]))
    copied = evaluate_all(rounds(MEMBERS, [], ["second", "copy"], copy=text.probability["second"]))
    assert of_uid(copied, 1) == of_uid(alone, 1)
    assert of_uid(copied, 2) == (0, 0, None, 0, None)
    assert copied.fitted.kept_P.tolist() == [True, False]


def test_of_two_that_know_the_same_the_earlier_registered_is_paid(rounds, text):
    noisy = noise_of(text, "second", 5, size=0.05)
    late = evaluate_all(rounds(MEMBERS, [], ["second", "noisy"], noisy=noisy)).books
    early = evaluate_all(rounds(MEMBERS, [], ["noisy", "second"], noisy=noisy)).books
    assert late.remote_credits[2] < late.remote_credits[1] / 100
    assert early.remote_credits[1] > 0.9 * late.remote_credits[1]
    assert early.remote_credits[2] < early.remote_credits[1] / 10


def test_a_remote_peer_that_answers_as_the_collective_does_earns_nothing(rounds, text):
    members = rounds(["first", "second"], [])
    weights_SC = evaluate_all(members).collective.weights_SC / 65535
    equal = (weights_SC[members.stratum_M].T * np.exp(members.log_probability_NM)).sum(axis=0)
    books = evaluate_all(rounds(["first", "second"], [], ["equal"], equal=equal)).books
    honest = evaluate_all(rounds(["first"], [], ["second"])).books.remote_credits[1]
    assert books.remote_credits[2] < 1e-4 * honest, "its weights are those that fit both folds, ours fit the other one"
    same = evaluate_all(rounds(["first", "second"], [], ["same"], same=text.probability["second"])).books
    assert (same.new_bits[2], same.remote_credits[2], same.accounts) == (0, 0, {})


def test_a_swarm_of_noise_costs_nobody_anything(rounds, text):
    """Not even in the last 10⁻⁹ bit: who is not admitted has no part in what comes after it."""
    noise = {f"noise{seed}": noise_of(text, "first", seed) for seed in range(32)}
    remotes = [*list(noise)[:24], "second", *list(noise)[24:]]
    second, third = 25, 34
    alone = evaluate_all(rounds(MEMBERS, ["third"], ["second"]))
    swarm = evaluate_all(rounds(MEMBERS, ["third"], remotes, **noise))
    assert swarm.fitted.kept_P.sum() == 1
    assert of_uid(swarm, second) == of_uid(alone, 1)
    assert of_uid(swarm, third) == of_uid(alone, 2)
    assert swarm.books.remote_credits == dict.fromkeys(swarm.books.remote_credits, 0) | {
        second: alone.books.remote_credits[1]
    }
    assert swarm.values.known_bits_per_byte == pytest.approx(alone.values.known_bits_per_byte, abs=1e-12)
    np.testing.assert_array_equal(swarm.collective.weights_SC, alone.collective.weights_SC)


def test_untrained_remote_peers_earn_nothing(rounds, text):
    rng = np.random.default_rng(8)
    junk = {}
    for number in range(8):
        said = np.exp(1.5 * rng.standard_normal((len(text.next_M), 256), np.float32))
        junk[f"junk{number}"] = (said / said.sum(axis=1, keepdims=True))[np.arange(len(text.next_M)), text.next_M]
    books = evaluate_all(rounds([], [], list(junk), **junk)).books
    assert set(books.remote_credits.values()) == {0}
    assert books.votes == {}


def test_an_account_fades_while_the_remote_peer_answers_what_is_known(rounds):
    books = evaluate_all(rounds(["first", "second"], [], ["first"]), {0: 1000, 2: 10**9}).books
    assert books.accounts == {0: 1000, 2: fade(10**9, FULL_CREDIT)}
    assert books.votes[2] == 65535


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("at most one of member", lambda r: {"member_N": r.member_N | r.remote_N}),
        ("has one row as such", lambda r: {"new_N": r.new_N | r.remote_N}),
        ("remote_N has shape", lambda r: {"remote_N": r.remote_N[:-1]}),
        ("has one row as such", lambda r: {"uid_N": np.where(r.remote_N, 7, r.uid_N)}),
        ("has one row as such", lambda r: {"uid_N": np.where(r.new_N, 1, r.uid_N)}),
        ("has one row as such", lambda r: {"uid_N": np.where(r.uid_N == 1, -1, r.uid_N)}),
    ],
)
def test_rows_that_contradict_are_refused(rounds, sentence, change):
    round_ = rounds(MEMBERS, ["third"], ["second", "code"])
    with pytest.raises(RoundError, match=sentence):
        replace(round_, **change(round_))


def test_a_neuron_whose_old_version_is_a_member_may_answer_from_elsewhere(rounds):
    round_ = rounds(MEMBERS, [], ["second"])
    books = evaluate_all(replace(round_, uid_N=np.where(round_.remote_N, 0, round_.uid_N))).books
    assert msgspec.to_builtins(books)["remote_credits"].keys() == {0}

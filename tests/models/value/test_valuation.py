from dataclasses import replace

import numpy as np
import pytest

from models.value.round import quantise
from models.value.rounds import fit_round, table_of, values_of
from models.value.valuation import evaluate, sum_by_uid

pytestmark = pytest.mark.thorough

MEMBERS = ("first", "second")


def true_byte(text, distribution_M256):
    """Probability of the byte that came, of distributions made proper again."""
    proper = distribution_M256 / distribution_M256.sum(axis=1, keepdims=True)
    return proper[np.arange(len(text.next_M)), text.next_M]


@pytest.fixture(scope="module")
def made(text):
    """Attacks: versions that know nothing new, made of what the members publish."""
    rng = np.random.default_rng(11)
    best, other = text.distribution["second"], text.distribution["first"]
    noised = {
        f"noised{size}": best * np.exp(size * rng.standard_normal(best.shape, np.float32)) for size in (0.01, 0.1, 0.4)
    }
    copies = {f"temperature{heat}": best ** (1 / heat) for heat in (0.8, 0.95, 1.05, 1.25)}
    ensemble = 0.2 * other + 0.8 * best
    sharpened = {f"sharpened{heat}": ensemble ** (1 / heat) for heat in (0.8, 0.9)}
    proper = {name: true_byte(text, values) for name, values in (noised | copies | sharpened).items()}
    return proper | {"clone": text.probability["second"], "untrained": np.full(len(text.next_M), 1 / 256)}


def evaluate_all(round_, accounts_before=None):
    return evaluate(round_, accounts_before or {}, set(round_.uid_N.tolist()))


def test_new_bits_sum_to_the_gain_and_shares_to_what_is_known(rounds):
    round_ = rounds(["first"], ["second", "third", "code", "encodings"])
    values = evaluate_all(round_).values
    assert len(values.new_bits_A) >= 3
    assert values.new_bits_A.sum() == pytest.approx(values.gain, abs=1e-9)
    assert values.known_bits_per_byte - values.collective_bits_per_byte == pytest.approx(values.gain, abs=1e-9)
    known = values.baseline_bits_per_byte - values.collective_bits_per_byte
    assert values.share_bits_N.sum() == pytest.approx(known, abs=1e-9)
    assert values.collective_bits_per_byte < values.bits_per_byte_N.min()


def test_a_clone_gets_exactly_nothing(rounds, text):
    valuation = evaluate_all(rounds(MEMBERS, ["clone", "third"], clone=text.probability["second"]))
    assert valuation.values.trial_gain_T[0] == 0
    assert valuation.books.new_bits[2] == 0
    assert valuation.books.credits.keys() == {3}


def test_a_version_that_equals_the_collective_gets_nothing(rounds):
    members = rounds(MEMBERS, [])
    weights_SC = evaluate_all(members).collective.weights_SC / 65535
    equal = (weights_SC[members.stratum_M].T * np.exp(members.log_probability_NM)).sum(axis=0)
    alone = evaluate_all(rounds(MEMBERS, ["equal"], equal=equal))
    beside = evaluate_all(rounds(MEMBERS, ["equal", "third"], equal=equal))
    assert abs(alone.values.gain) < 1e-6
    assert alone.books.credit_total < 1000
    assert beside.books.credits.get(2, 0) < 1e-4 * beside.books.credits[3]


def test_attacks_earn_less_than_a_hundredth_of_an_honest_improvement(rounds, made):
    honest = evaluate_all(rounds(MEMBERS, ["third"]))
    valuation = evaluate_all(rounds(MEMBERS, ["third", *made], **made))
    assert valuation.books.credits[2] > 0.05e9
    assert sum(valuation.books.credits.values()) - valuation.books.credits[2] < 0.01 * valuation.books.credits[2]
    assert valuation.books.credits[2] == pytest.approx(honest.books.credits[2], rel=0.01)


def test_attacks_alone_earn_less_than_a_hundredth_of_an_honest_improvement(rounds, made):
    honest = evaluate_all(rounds(MEMBERS, ["third"])).books.credit_total
    assert evaluate_all(rounds(MEMBERS, list(made), **made)).books.credit_total < 0.01 * honest


def test_untrained_versions_teach_nothing(rounds, text):
    rng = np.random.default_rng(5)
    shape = (len(text.next_M), 256)
    untrained = {
        f"untrained{seed}": true_byte(text, np.exp(1.5 * rng.standard_normal(shape, np.float32))) for seed in range(3)
    }
    valuation = evaluate_all(rounds([], list(untrained), **untrained))
    assert valuation.values.gain == 0
    assert valuation.books.votes == {}
    assert valuation.collective.uids == (-1,)


def test_noise_inherits_nothing_from_an_idle_network(rounds, text):
    accounts = evaluate_all(rounds(["first"], ["second"])).books.accounts
    earned = dict(accounts)
    rng = np.random.default_rng(7)
    for _ in range(6):
        noise = {
            f"noise{i}": np.minimum(
                text.probability["second"] * np.exp(0.2 * rng.normal(size=len(text.next_M)) - 0.02), 1
            )
            for i in range(6)
        }
        accounts = evaluate_all(rounds(MEMBERS, list(noise), **noise), accounts).books.accounts
    assert accounts.get(1, 0) > 0.99 * earned[1]
    assert sum(amount for uid, amount in accounts.items() if uid > 1) < 0.01 * earned[1]


def test_specialists_are_paid_for_their_strata(rounds):
    valuation = evaluate_all(rounds(MEMBERS, ["code", "encodings"]))
    assert valuation.books.credits.keys() == {2, 3}
    p_SB = valuation.fitted.p_FSB.mean(axis=0)
    assert p_SB[0, 1] > p_SB[2, 1]
    assert p_SB[2, 2] > p_SB[0, 2]


def test_of_two_equal_versions_the_first_published_is_paid(rounds, text):
    valuation = evaluate_all(rounds(MEMBERS, ["third", "same"], same=text.probability["third"]))
    alone = evaluate_all(rounds(MEMBERS, ["third"]))
    assert valuation.books.credits == alone.books.credits


def test_order_of_rows_and_events_does_not_matter(rounds):
    round_ = rounds(MEMBERS, ["third", "code", "encodings"])
    rows = np.array([0, 2, 1, 5, 3, 4])
    events = np.random.default_rng(0).permutation(round_.fold_M.size)
    shuffled = replace(
        round_,
        matrix_NM=round_.matrix_NM[rows][:, events],
        manifests=tuple(round_.manifests[row] for row in rows),
        uid_N=round_.uid_N[rows],
        member_N=round_.member_N[rows],
        new_N=round_.new_N[rows],
        **{name: getattr(round_, name)[events] for name in ("stratum_M", "document_M", "fold_M", "bytes_M")},
    )
    straight, again = evaluate_all(round_).books, evaluate_all(shuffled).books
    for uid, bits in straight.new_bits.items():
        assert again.new_bits[uid] == pytest.approx(bits, abs=2e4)
    assert again.gain == pytest.approx(straight.gain, abs=2e4)


def test_impossible_events_cost_a_version_no_more_than_the_floor(rounds, text):
    impossible = text.probability["third"].copy()
    impossible[::200] = 0.0
    values = evaluate_all(rounds(MEMBERS, ["impossible"], impossible=impossible)).values
    assert np.isinf(values.bits_per_byte_N[3])
    assert 0 < values.gain < evaluate_all(rounds(MEMBERS, ["third"])).values.gain


def test_versions_that_are_neither_new_nor_members_are_only_measured(rounds):
    round_ = rounds(MEMBERS, ["third", "code"])
    measured = replace(round_, new_N=round_.new_N & (round_.uid_N != 3))
    alone, beside = evaluate_all(rounds(MEMBERS, ["third"])), evaluate_all(measured)
    assert beside.books.new_bits == alone.books.new_bits
    assert beside.values.bits_per_byte_N[4] > 0
    assert beside.values.share_bits_N[4] == 0


def test_nothing_new_changes_no_account(rounds):
    valuation = evaluate_all(rounds(MEMBERS, []), {0: 7, 1: 5})
    assert valuation.values.gain == 0
    assert valuation.books.accounts == {0: 7, 1: 5}
    assert valuation.books.votes == {0: 65535, 1: 65535 * 5 // 7}


def test_who_did_not_answer_gets_no_vote_and_keeps_the_account(rounds):
    valuation = evaluate(rounds(MEMBERS, ["third"]), {0: 10**9}, {2})
    assert valuation.books.votes.keys() == {2}
    assert valuation.books.accounts[0] > 0


def test_every_byte_counts_once_however_text_is_cut_into_events(rounds):
    round_ = rounds(MEMBERS, ["third"])
    longer = replace(round_, bytes_M=2 * round_.bytes_M)
    fitted = fit_round(round_, table_of(round_))
    double, single = (values_of(each, table_of(each), fitted) for each in (longer, round_))
    assert double.gain == pytest.approx(single.gain / 2)


def test_a_missing_stratum_in_one_fold_is_valued_with_the_weights_of_all(rounds):
    round_ = rounds(MEMBERS, ["third"])
    kept = (round_.stratum_M != 2) | (round_.fold_M == 0)
    columns = {name: getattr(round_, name)[kept] for name in ("stratum_M", "document_M", "fold_M", "bytes_M")}
    part = replace(round_, matrix_NM=round_.matrix_NM[:, kept], **columns)
    values = evaluate_all(part).values
    assert values.new_bits_A.sum() == pytest.approx(values.gain, abs=1e-9)
    assert values.gain > 0


def test_shares_of_a_peer_are_summed_over_its_versions(rounds):
    round_ = replace(rounds(["first", "second"], ["third"]), uid_N=np.array([-1, 4, 6, 4]))
    shares = evaluate(round_, {}, {4, 6}).values.share_bits_N
    assert sum_by_uid(round_, shares) == pytest.approx({4: shares[1] + shares[3], 6: shares[2]})


def test_values_depend_on_the_rounded_matrix_only(rounds, text):
    jitter = np.random.default_rng(0).uniform(-1e-5, 1e-5, len(text.next_M))
    near = np.exp(np.minimum(np.round(np.log2(text.probability["third"]) * 1024) / 1024 + jitter, 0) * np.log(2))
    exact = rounds(MEMBERS, ["third"])
    rounded = replace(exact, matrix_NM=np.vstack([exact.matrix_NM[:3], quantise(np.log(near))[None]]))
    assert evaluate_all(rounded).books == evaluate_all(exact).books

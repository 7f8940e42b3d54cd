import lzma
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.value.audit import audit, recompute
from models.value.errors import EvidenceError, RoundError
from models.value.evidence import COLUMNS, Column, decode_accounts, decode_evidence, encode_evidence, evidence_hash
from models.value.record import WindowIds, build_evidence, read_evidence, write_evidence
from models.value.round import Round
from models.value.updates import claims_of
from models.value.valuation import evaluate

BEFORE = {1: 10**8, 0: 3 * 10**8}
ANSWERED = {0, 1, 2, 3}


@pytest.fixture(scope="module")
def voted(rounds):
    round_ = rounds(["first"], ["third", "code"], ["second", "encodings"])
    valuation = evaluate(round_, BEFORE, ANSWERED)
    windows = window_ids(round_)
    evidence = build_evidence(
        round_, valuation, BEFORE, ANSWERED, genesis=b"g" * 32, epoch=3, hotkey=b"h" * 32, seed=b"seed", windows=windows
    )
    return round_, valuation, evidence


def nearly(books, recorded):
    """The same figures, but for what a fit may leave that ended within the tolerance: 4·10⁻⁹ bit per byte."""
    books, recorded = msgspec.to_builtins(books), msgspec.to_builtins(recorded)
    assert books.keys() == recorded.keys()
    return all(books[name] == pytest.approx(recorded[name], rel=0, abs=4) for name in books)


def window_ids(round_):
    """One window of 200 bytes a hundred events, and the last of it for each of them."""
    window_M = np.arange(round_.fold_M.size) // 100
    windows = int(window_M.max()) + 1
    offset_M = 100 + np.arange(round_.fold_M.size) % 100
    return WindowIds([b"\1" * 32] * windows, list(range(windows)), [200] * windows, window_M, offset_M)


def with_column(evidence, name, array):
    kept = evidence.columns[name]
    columns = evidence.columns | {name: Column(kept.shape, array.tobytes())}
    return msgspec.structs.replace(evidence, columns=columns)


def changed(evidence, name, index, value):
    array = evidence.array(name).copy()
    array[index] = value
    return with_column(evidence, name, array)


def test_what_is_written_is_read_again(voted, tmp_path):
    round_, valuation, evidence = voted
    data = encode_evidence(evidence)
    write_evidence(tmp_path / "epoch" / "3.evidence", data)
    again = read_evidence(tmp_path / "epoch" / "3.evidence", evidence_hash(data))
    assert encode_evidence(again) == data
    assert again.books == valuation.books
    assert again.accounts_before == BEFORE
    assert again.collective().manifests == valuation.collective.manifests
    np.testing.assert_array_equal(again.round().matrix_NM, round_.matrix_NM)
    np.testing.assert_array_equal(again.collective().weights_SC, valuation.collective.weights_SC)
    assert [path.name for path in (tmp_path / "epoch").iterdir()] == ["3.evidence"]


def test_values_follow_from_the_evidence_without_fitting(voted):
    _, valuation, evidence = voted
    again = recompute(decode_evidence(encode_evidence(evidence)))
    assert again.books == valuation.books
    assert again.values.gain == pytest.approx(valuation.values.gain, abs=1e-9)
    np.testing.assert_allclose(again.values.new_bits_A, valuation.values.new_bits_A, atol=1e-9)
    assert audit(evidence) == []


@pytest.mark.parametrize(
    ("sentence", "name", "index", "value"),
    [
        ("gain differs", "summary", 0, 0.5),
        ("new_bits_A differs", "new_bits", 0, 0.4),
        ("share_bits_N differs", "share_bits", 1, 0.0),
        ("bits_per_byte_N differs", "bits_per_byte", 2, float("nan")),
        ("differs", "matrix", (3, slice(0, 200)), 0),
        ("not mixtures", "chain", (0, 0, 0, 0), -0.1),
        ("not mixtures", "p", (0, 0, 0), float("nan")),
        ("remote_gain_P differs", "remote_gain", 0, 0.9),
        ("remote_gain_P differs", "remote_gain", 1, 1e-3),
        ("remote_gain_se_P differs", "remote_gain_se", 0, 1e-6),
        ("counts somebody who was not admitted", "remote_gain", 0, -1.0),
    ],
)
def test_an_audit_finds_what_was_changed(voted, sentence, name, index, value):
    found = audit(changed(voted[2], name, index, value))
    assert any(sentence in line for line in found)


def test_an_audit_finds_weights_that_are_not_the_best(voted):
    evidence = voted[2]
    p_FSB = evidence.array("p").copy()
    p_FSB[..., 1] -= 0.05
    p_FSB[..., 2] += 0.05
    found = audit(with_column(evidence, "p", p_FSB))
    assert any("certificate" in line for line in found)


@pytest.mark.parametrize("link", [0, 1, 2])
def test_an_audit_finds_a_link_that_is_not_the_best(voted, link):
    evidence = voted[2]
    chain_KFSR = evidence.array("chain").copy()
    chain_KFSR[link, ..., 0] += 0.05
    chain_KFSR[link, ..., 1] -= 0.05
    chain_KFSR = np.maximum(chain_KFSR, 0)
    found = audit(with_column(evidence, "chain", chain_KFSR / chain_KFSR.sum(axis=-1, keepdims=True)))
    assert any("certificate" in line for line in found)


def test_an_audit_finds_a_remote_peer_in_a_link_before_it(voted):
    evidence = voted[2]
    chain_KFSR = evidence.array("chain").copy()
    chain_KFSR[0] = chain_KFSR[1]
    assert audit(with_column(evidence, "chain", chain_KFSR)) == [
        "what was known before a remote peer was tried counts somebody who was not admitted before it"
    ]


@pytest.mark.parametrize("name", ["remote_credits", "new_bits", "new_bits_se", "accounts"])
def test_an_audit_finds_what_a_remote_peer_was_given(voted, name):
    evidence = voted[2]
    given = getattr(evidence.books, name) | {1: 10**9 + 1}
    books = msgspec.structs.replace(evidence.books, **{name: given})
    assert audit(msgspec.structs.replace(evidence, books=books)) == [
        "credits, accounts or votes do not follow from the recorded values"
    ]


def test_an_audit_finds_votes_that_do_not_follow(voted):
    evidence = voted[2]
    bought = msgspec.structs.replace(evidence.books, votes=evidence.books.votes | {3: 65535})
    assert audit(msgspec.structs.replace(evidence, books=bought)) == [
        "credits, accounts or votes do not follow from the recorded values"
    ]


def test_contradicting_columns_are_found_when_the_round_is_made(voted):
    with pytest.raises(RoundError, match="fold_M"):
        audit(changed(voted[2], "fold", 0, 9))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: b"\xc1",
        lambda data: data.replace(b"format", b"forma\xff", 1),
        lambda data: data.replace(b"encodings", b"encoding\xff", 1),
    ],
)
def test_damaged_bytes_are_refused(voted, spoil):
    with pytest.raises(EvidenceError):
        decode_evidence(spoil(encode_evidence(voted[2])))


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("audit it with the version that wrote it", {"format": 1}),
        ("32 bytes", {"hotkey": b"short"}),
        ("ascending", {"answered": [2, 1]}),
        ("below 0", {"accounts_before": {1: -1}}),
        ("columns are not", {"columns": {}}),
    ],
)
def test_fields_that_are_wrong_are_refused(voted, sentence, change):
    with pytest.raises(EvidenceError, match=sentence):
        decode_evidence(encode_evidence(msgspec.structs.replace(voted[2], **change)))


@pytest.mark.parametrize(
    ("sentence", "name", "column"),
    [
        ("dimensions", "uid", lambda column: Column([1, *column.shape], column.data)),
        ("other columns", "uid", lambda column: Column([column.shape[0] - 1], column.data[:-4])),
        ("shape needs", "uid", lambda column: Column(column.shape, column.data[:-1])),
        ("not of the round's", "remote", lambda column: Column(column.shape, bytes(len(column.data)))),
        ("not of the round's", "member", lambda column: Column(column.shape, bytes(len(column.data)))),
        ("not new", "admitted", lambda column: Column(column.shape, bytes(len(column.data)))),
        ("not in the round", "collective_row", lambda column: Column(column.shape, b"\x7f" * len(column.data))),
        ("not asked about", "window", lambda column: Column(column.shape, b"\x7f" * len(column.data))),
        ("end of its window", "offset", lambda column: Column(column.shape, b"\xff" * len(column.data))),
        ("end of its window", "window_length", lambda column: Column(column.shape, bytes(len(column.data)))),
        ("other columns", "window_offset", lambda column: Column([2**62], b"")),
        ("other columns", "window_offset", lambda column: Column([-1], b"")),
    ],
)
def test_columns_that_do_not_fit_are_refused(voted, sentence, name, column):
    evidence = voted[2]
    columns = evidence.columns | {name: column(evidence.columns[name])}
    with pytest.raises(EvidenceError, match=sentence):
        decode_evidence(encode_evidence(msgspec.structs.replace(evidence, columns=columns)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize(
    "name", ["summary", "remote_gain", "remote_gain_se", "trial_gain", "trial_gain_se", "new_bits", "new_bits_se"]
)
def test_values_that_could_not_be_booked_are_refused(voted, name, value):
    with pytest.raises(EvidenceError, match=f"column {name}"):
        decode_evidence(encode_evidence(changed(voted[2], name, 0, value)))


def test_other_encodings_of_the_same_evidence_are_refused(voted):
    plain = msgspec.msgpack.decode(encode_evidence(voted[2]))
    with pytest.raises(EvidenceError, match="canonical"):
        decode_evidence(msgspec.msgpack.encode(dict(reversed(plain.items()))))


def test_a_file_that_was_not_committed_to_is_refused(voted, tmp_path):
    path = tmp_path / "evidence"
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_evidence(path)
    write_evidence(path, encode_evidence(voted[2]))
    with pytest.raises(EvidenceError, match="hash"):
        read_evidence(path, b"\0" * 32)


def recorded(name):
    return lzma.decompress((Path(__file__).parent / name).read_bytes())


def test_evidence_of_earlier_epochs_with_a_cohort_still_audits():
    evidence = decode_evidence(recorded("evidence3.xz"))
    assert audit(evidence) == []
    (weighing,) = evidence.rounds
    assert len(evidence.books.credits) == len(claims_of(weighing)) == 3
    again = evaluate(evidence.round(), evidence.accounts_before, evidence.answered, evidence.rounds)
    assert nearly(again.books, evidence.books)


def test_evidence_of_the_second_format_has_no_rounds():
    evidence = decode_evidence(recorded("evidence3.xz"))
    with pytest.raises(EvidenceError, match="evidence of format 2 has no rounds"):
        decode_evidence(encode_evidence(msgspec.structs.replace(evidence, format=2)))


def test_evidence_of_earlier_epochs_still_audits():
    evidence = decode_evidence(recorded("evidence2.xz"))
    assert audit(evidence) == []
    assert len(evidence.books.remote_credits) == 2
    again = evaluate(evidence.round(), evidence.accounts_before, evidence.answered)
    assert nearly(again.books, evidence.books)


def test_of_evidence_of_the_first_format_the_accounts_are_read_and_nothing_else():
    data = recorded("evidence1.xz")
    with pytest.raises(EvidenceError, match="evidence of format 1, this version reads 2 and 3"):
        decode_evidence(data)
    assert decode_accounts(data) == msgspec.msgpack.decode(data, strict=False)["books"]["accounts"]


def test_without_remote_peers_values_are_those_of_the_first_format():
    old = msgspec.msgpack.decode(recorded("evidence1.xz"), strict=False)
    kinds = COLUMNS | {"q": ("<f8", "FSR")}
    columns = {
        name: np.frombuffer(data, kinds[name][0]).reshape(shape) for name, (shape, data) in old["columns"].items()
    }
    round_ = Round(
        matrix_NM=columns["matrix"].astype(np.int32),
        manifests=tuple(row.tobytes() for row in columns["manifest"]),
        uid_N=columns["uid"],
        member_N=columns["member"].astype(bool),
        new_N=columns["new"].astype(bool),
        stratum_M=columns["stratum"],
        document_M=columns["document"],
        fold_M=columns["fold"],
        bytes_M=columns["bytes"],
        strata=tuple(old["strata"]),
    )
    valuation = evaluate(round_, old["accounts_before"], old["answered"])
    books = msgspec.to_builtins(valuation.books)
    assert books.pop("remote_credits") == {}
    assert nearly(books, old["books"])
    np.testing.assert_allclose(valuation.fitted.q_FSR, columns["q"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(valuation.collective.weights_SC, columns["collective_weight"], rtol=0, atol=2)


def test_accounts_rounds_and_evidence_need_no_torch_and_no_ray():
    modules = "models.value, models.value.collective, models.value.audit, models.value.record, models.value.valuation"
    code = f"import sys, {modules}; print(sorted({{'torch', 'ray'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"

"""A cohort in a whole network without Ray: members train together, hosts weigh, validators vote and divide the pay."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import taoray
from actors.ballot import round_votes
from actors.member import unsent
from actors.member_record import MemberRecords
from actors.miner import Job
from actors.round_wire import Along, WeighAnswer, sign_weighed
from actors.rounds import hear, joint_groups
from ledger.epoch.cohorts import DECAY as LEDGER_DECAY
from ledger.store.chain import Chain
from ledger.store.replay import verify
from models.errors import StoreError, TrainingError
from models.host.folders import load_model
from models.store import Store
from models.train.cohort import OuterSettings
from models.train.compression import decode, payload_hash
from models.train.layout import hash_vector, layout_of, read_vector
from models.value.audit import audit
from models.value.evidence import Evidence
from models.value.record import read_evidence
from models.value.updates import DECAY, claims_of
from tests.actors.together import MEMBERS, OUTER, STAKES_TAO, TRAINING, WINDOWS, Played, Together

pytestmark = pytest.mark.thorough

Found = Callable[[Path], Any]


@pytest.fixture(scope="module")
def found(corpus_folder: Path, plain_network: Any) -> Found:
    """Founds a network of the cohort's members in a folder, or goes on with it."""
    return lambda folder: plain_network(
        folder, corpus_folder, stakes_tao=STAKES_TAO, peers=tuple(MEMBERS), windows=WINDOWS
    )


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory, found: Found, make_job_of: Callable[..., Job]) -> Played:
    folder = tmp_path_factory.mktemp("cohort")
    plain = found(folder)
    first = plain.host.work(make_job_of("ada", None, "begin")).manifest
    together = Together(plain, first)
    for name in MEMBERS:
        plain.register(name)
    plain.run_epoch()
    played = Played(folder, first, [], [], [])
    for _ in range(3):
        played.receipts.append(together.open())
        played.findings.append(together.vote())
        played.rows.append(together.row)
    plain.close()
    return played


@pytest.fixture
def together(tmp_path: Path, rounds: Played, found: Found) -> Iterator[Together]:
    """A copy of the network after three rounds, of the test's own."""
    shutil.copytree(rounds.folder, tmp_path / "home")
    plain = found(tmp_path / "home")
    yield Together(plain, rounds.first)
    plain.close()


def uids(together: Together, *names: str) -> list[int]:
    return sorted(together.plain.uid(name) for name in names)


def test_every_member_and_the_ledger_have_the_same_parameters(rounds: Played) -> None:
    for receipts, row in zip(rounds.receipts, rounds.rows, strict=True):
        assert {(receipt.parameters, receipt.manifest) for receipt in receipts.values()} == {
            (row.parameters, row.manifest)
        }
    assert len({row.parameters for row in rounds.rows}) == 3
    assert verify(rounds.folder / "chain.db")


def test_what_the_ledger_names_is_in_the_store_with_these_parameters(rounds: Played) -> None:
    store = Store(rounds.folder / "store")
    for row in rounds.rows:
        model = load_model(store.materialize(row.manifest))
        assert hash_vector(read_vector(model), layout_of(model)) == row.parameters


def test_honest_updates_are_accepted_and_cheats_are_not(together: Together, rounds: Played) -> None:
    """Traces of pages and likeness are statistics, so of nine honest updates one may be refused by them."""
    honest = uids(together, "ada", "grace", "echo")
    accepted = [each.uid for row in rounds.rows for each in row.accepted]
    assert set(accepted) == set(honest)
    assert len(accepted) >= 3 * len(honest) - 1
    assert sorted(each.uid for each in rounds.rows[-1].sums) == honest
    stan = together.plain.uid("stan")
    for found in (each for findings in rounds.findings for each in findings.values()):
        (round_,) = found.rounds
        refused = {each.uid: each.refusal for each in round_.contributions if each.refusal}
        assert refused.pop(stan).startswith("empty: ")
        assert all(uid in honest and why.startswith(("pages: ", "copy: ")) for uid, why in refused.items()), refused
        bits = {each.uid: each.bits for each in round_.contributions if each.bits is not None}
        assert bits[together.plain.uid("flo")] < 0
        assert round_.path_bits == pytest.approx(round_.measured_bits, rel=0.05)
        assert sum(bits.values()) == pytest.approx(round_.path_bits, abs=1e-6)


def test_learning_together_shortens_the_text(rounds: Played) -> None:
    losses = [
        sum(receipts[name].loss_bits_per_byte for name in ("ada", "grace", "echo")) for receipts in rounds.receipts
    ]
    assert losses[2] < losses[1] < losses[0]


def test_the_cohorts_credit_goes_to_members_by_what_their_updates_were_worth(together: Together) -> None:
    for name in STAKES_TAO:
        evidence = read_evidence(together.plain.evidence_path(4, name))
        (weighing,) = evidence.rounds
        publisher = together.plain.uid("ada")
        assert evidence.books.new_bits[publisher] > 0
        claims = claims_of(weighing)
        honest = uids(together, "ada", "grace", "echo")
        assert sorted(claims) == sorted(evidence.books.credits) == honest
        assert sum(evidence.books.credits.values()) == evidence.books.credit_total
        for uid in honest:
            share = evidence.books.credit_total * claims[uid] / sum(claims.values())
            assert abs(evidence.books.credits[uid] - share) < 1
        assert set(evidence.books.votes) == set(honest)
    paid = {neuron.name: neuron.emission_rao for neuron in together.plain.keeper.view().neurons}
    assert all(paid[name] > 0 for name in ("ada", "grace", "echo"))
    assert paid["flo"] == paid["stan"] == 0


def test_votes_on_rounds_follow_from_evidence_that_passes_the_audit(together: Together) -> None:
    with Chain.open(together.plain.folder / "chain.db") as chain:
        for name in STAKES_TAO:
            revealed = chain.state.reveals()[together.plain.uid(name)]
            evidence = read_evidence(together.plain.evidence_path(4, name), revealed.evidence)
            assert audit(evidence) == []
            assert round_votes(evidence.rounds) == revealed.rounds
            (weighing,) = evidence.rounds
            wrong = {**weighing.values, together.plain.uid("flo"): 5}
            forged = replace(evidence, rounds=[replace(weighing, values=wrong)])
            assert audit(forged) == [
                f"the values of cohort {together.name.hex()[:16]} do not follow from the recorded bits"
            ]
            richer = {**weighing.sums_before, together.plain.uid("flo"): 10**9}
            assert audit(replace(evidence, rounds=[replace(weighing, sums_before=richer)])) == [
                "credits, accounts or votes do not follow from the recorded values"
            ]


def test_the_audit_of_an_epoch_compares_votes_on_rounds_with_their_evidence(
    together: Together, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "audited"
    (home / "ledger").mkdir(parents=True)
    shutil.copytree(together.plain.folder / "evidence", home / "evidence")
    for path in together.plain.folder.glob("chain.db*"):
        shutil.copy(path, home / "ledger" / path.name)
    for epoch in (2, 3, 4):
        assert [one.differs for one in taoray.audit(home, epoch)] == [()] * len(STAKES_TAO)

    def read(at: Path, expected_hash: bytes) -> Evidence:
        evidence = read_evidence(at, expected_hash)
        (weighing,) = evidence.rounds
        return replace(evidence, rounds=[replace(weighing, parameters=bytes(32))])

    monkeypatch.setattr("cluster.audit.read_evidence", read)
    for one in taoray.audit(home, 4):
        assert one.differs == ("what the ledger says of cohorts' updates is not what the evidence says",)


def test_sums_decay_here_as_on_the_ledger() -> None:
    assert DECAY == LEDGER_DECAY


def test_the_same_job_gives_the_same_update_wherever_it_is_done_again(together: Together) -> None:
    host, job = together.plain.host, together.job("ada")
    peer = together.plain.folder / "peers" / "ada"
    shutil.copytree(peer, peer.with_name("kept"))
    told = host.contribute(job)
    laid = peer / "outbox" / told.payload.hex()
    assert payload_hash(laid.read_bytes()) == told.payload
    laid.unlink()
    again = host.contribute(job)
    assert replace(again, seconds=0.0) == replace(told, seconds=0.0)
    assert payload_hash(laid.read_bytes()) == told.payload, "the payload is laid out again"
    shutil.rmtree(peer)
    shutil.copytree(peer.with_name("kept"), peer)
    assert host.contribute(job).payload == told.payload, "and found again by training again"


def test_a_member_keeps_its_last_two_rounds_and_nothing_half_written(together: Together) -> None:
    peer = together.plain.folder / "peers" / "ada"
    folder = peer / "rounds" / together.name.hex()[:16]
    (folder / ".00000002-aa.safetensors.bb").write_bytes(b"half")
    told = together.plain.host.contribute(together.job("ada"))
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["00000003", "00000004"]
    assert [path.name for path in (peer / "outbox").iterdir()] == [told.payload.hex()]


def test_a_damaged_record_is_named(together: Together) -> None:
    job = together.job("ada")
    folder = together.plain.folder / "peers" / "ada" / "rounds" / job.cohort.hex()[:16]
    last = max(folder.iterdir())
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=last.name):
        together.plain.host.contribute(job)


def test_training_in_two_processes_leads_to_the_same_update_within_rounding(together: Together) -> None:
    job = replace(together.job("ada"), settings=replace(TRAINING, steps=2), outer=OuterSettings(keep=4096, rate=1.0))
    model = load_model(Store(together.plain.folder / "store").materialize(job.manifest))
    accumulated = []
    for name, processes in (("ada", 1), ("anna", 2)):
        own = replace(
            job, peer=name, settings=replace(job.settings, processes=processes), cohort=bytes(32), accepted=()
        )
        told = together.plain.host.contribute(own)
        payload = (together.plain.folder / "peers" / name / "outbox" / told.payload.hex()).read_bytes()
        accumulated.append(decode(payload, layout_of(model), own.outer).value_N)
    one_P, two_P = accumulated
    # The first steps of AdamW divide each gradient by its own size, so rounding shows where one is nearly 0.
    assert np.linalg.norm(one_P - two_P) < 1e-2 * np.linalg.norm(one_P)


def test_what_came_too_late_is_part_of_the_next_update(together: Together) -> None:
    job = together.job("ada")
    records = MemberRecords(together.plain.folder / "peers" / "ada" / "rounds" / job.cohort.hex()[:16])
    before = records.before(bytes(32))
    assert before.receipt.payload == job.committed
    model = load_model(Store(together.plain.folder / "store").materialize(job.manifest))
    errors = {}
    for committed in (job.committed, None):
        own = replace(job, committed=committed)
        errors[committed] = unsent(own, before, layout_of(model))
    sent = decode(before.payload, layout_of(model), OUTER)
    np.testing.assert_array_equal(errors[None], before.accumulated_P)
    kept = errors[job.committed]
    assert np.abs(kept[sent.position_N]).sum() < 0.5 * np.abs(before.accumulated_P[sent.position_N]).sum()
    others = np.setdiff1d(np.arange(len(kept)), sent.position_N)
    np.testing.assert_array_equal(kept[others], before.accumulated_P[others])
    payloads = {together.plain.host.contribute(replace(job, committed=each)).payload for each in (job.committed, None)}
    assert len(payloads) == 2


def test_who_joins_late_or_missed_rounds_needs_only_the_row_and_the_accepted_updates(together: Together) -> None:
    told = together.plain.host.contribute(together.job("ada"))
    shutil.rmtree(together.plain.folder / "peers" / "grace")
    late = together.plain.host.contribute(together.job("grace"))
    assert (late.parameters, late.manifest) == (told.parameters, told.manifest)
    assert late.payload != told.payload


def test_a_member_goes_on_from_nothing_but_what_the_ledger_says(together: Together) -> None:
    job, host = together.job("ada"), together.plain.host
    with pytest.raises(StoreError, match="does not hold the parameters"):
        host.contribute(replace(job, parameters=bytes(32)))
    path = together.contributions / job.accepted[1][1].hex()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreError, match=job.accepted[1][1].hex()[:16]):
        host.contribute(job)
    path.unlink()
    with pytest.raises(StoreError, match="restore them from a copy"):
        host.contribute(job)


def test_updates_that_do_not_count_are_refused_with_their_codes(together: Together) -> None:
    receipts = {name: together.plain.host.contribute(together.job(name)) for name in MEMBERS}
    stale = replace(receipts["echo"], parameters=bytes(32))
    copied = replace(receipts["flo"], payload=receipts["ada"].payload)
    for name, receipt in (*receipts.items(), ("echo", stale), ("flo", copied)):
        if name not in ("echo", "flo") or receipt is not receipts[name]:
            together.commit_to(name, receipt)
    together.plain.seal("open")
    together.share({name: receipts[name] for name in ("ada", "echo", "stan")})
    (together.contributions / receipts["stan"].payload.hex()).write_bytes(b"nothing" * 1000)
    found = together.vote()["vera"].rounds[0]
    codes = {each.uid: each.refusal.partition(":")[0] for each in found.contributions if each.refusal}
    names = {together.plain.uid(name): name for name in MEMBERS}
    assert {names[uid]: code for uid, code in codes.items()} == {
        "grace": "missing",
        "echo": "stale",
        "flo": "copy",
        "stan": "hash",
    }
    assert [names[each.uid] for each in together.row.accepted] == ["ada"]


def resigned(together: Together, answer: WeighAnswer, **changes: Any) -> WeighAnswer:
    return sign_weighed(together.plain.wallets["operator"].hotkey(), replace(answer, **changes))


def test_a_validator_says_nothing_of_a_round_that_is_not_the_ledgers(together: Together) -> None:
    together.open()
    answer, plain = together.weigh("vera"), together.plain
    asked = answer.request
    strangers = plain.wallets["ada"].hotkey()
    other = replace(asked.entrants[0], page_seed=bytes(32))
    wrong = {
        "not signed by the network's operator": [
            replace(answer, parameters=bytes(32)),
            sign_weighed(strangers, answer),
        ],
        "another query": [together.weigh("viola")],
        "does not begin where": [resigned(together, answer, request=replace(asked, manifest=bytes(32)))],
        "are not those that the open block has": [
            resigned(together, answer, request=replace(asked, entrants=asked.entrants[1:]), first=Along())
        ],
        "pages": [resigned(together, answer, request=replace(asked, entrants=(other, *asked.entrants[1:])))],
        "rules": [resigned(together, answer, request=replace(asked, outer=OuterSettings(rate=2.0)))],
        "not one value for each": [resigned(together, answer, first=replace(answer.first, bits_UG=()))],
        "no numbers": [resigned(together, answer, first=replace(answer.first, path_bits=float("nan")))],
        "not asked about": [resigned(together, answer, refused=((answer.first.uids[0], "copy", "a copy"),))],
        "windows that the query has not": [resigned(together, answer, window_W=(10**6, *answer.window_W[1:]))],
        "which group": [resigned(together, answer, group_W=answer.group_W[1:])],
    }
    with Chain.open(plain.folder / "chain.db") as chain:
        query, state = plain.validators["vera"].draw(plain.epoch), chain.state
        document_W = np.arange(len(query.text_WT))
        for sentence, answers in wrong.items():
            for each in answers:
                heard = hear([each], query, state=state, operator=plain.genesis.keeper, document_W=document_W)
                assert (heard.weighings, heard.contributed) == ((), frozenset()), sentence
                assert sentence in heard.findings[0].problem
        heard = hear([answer, answer], query, state=state, operator=plain.genesis.keeper, document_W=document_W)
        assert len(heard.weighings) == 1
        assert [bool(finding.problem) for finding in heard.findings] == [False, True]


def test_without_agreement_the_row_stays_and_the_same_parameters_are_derived_again(together: Together) -> None:
    row = together.row
    told = together.open()
    plain, answers = together.plain, together.plain.ask()
    for validator in plain.validators.values():
        validator.value(plain.epoch, {}, answers)
    plain.keeper.submit([validator.commit(plain.epoch) for validator in plain.validators.values()])
    plain.seal("commit")
    plain.keeper.submit([validator.reveal(plain.epoch) for validator in plain.validators.values()])
    plain.seal("close")
    assert together.row == row
    assert plain.host.contribute(together.job("grace")).parameters == told["grace"].parameters


def test_groups_that_share_a_document_are_one() -> None:
    assert joint_groups(np.array([0, 0, 1, 1, 2, 2]), np.array([5, 6, 7, 5, 8, 9])).tolist() == [0, 0, 1]
    assert joint_groups(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])).tolist() == [0, 1, 2, 3]
    assert joint_groups(np.array([0, 1, 1, 2]), np.array([1, 1, 2, 2])).tolist() == [0, 0, 0]

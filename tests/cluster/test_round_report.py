"""Records of rounds: who is taken and why not, what adds up, and what a person sees of it."""

import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from actors.ballot import ContributionFinding, Finding, NeuronFinding, RoundFinding
from cluster.cli.progress import Terminal
from cluster.cli.tables import cohort_table, metagraph_table, neuron_table, round_line, round_table
from cluster.home import Home
from cluster.report import EpochRecord, Seconds, append_epoch, epoch_record, neuron_records, read_epochs
from cluster.round_plot import draw_rounds
from cluster.round_report import EpochFacts, RoundFacts, round_records
from cluster.standing import cohort_standings
from ledger.entries import Accepted, Cohort, Contribution, Neuron
from ledger.execution import create_state
from ledger.extrinsics import UpdateValue
from ledger.genesis import Genesis

NAME = b"c" * 32
SIZE = 320_000
PAGE_BYTES = 51_600
STAKES = [300, 200, 100]
MEMBERS = ("ada", "grace", "flip", "slow", "stranger")


def theta(epoch: int) -> bytes:
    return bytes([epoch]) * 32


def payload(uid: int, epoch: int) -> bytes:
    return bytes([uid, epoch]) * 16


def neurons(epoch: int) -> list[Neuron]:
    """Three validators, four members of which the first has published θ, and a peer that trains alone."""
    found = []
    for uid, name in enumerate(["vera", "victor", "viola", *MEMBERS[:4], "alone"]):
        manifest = theta(epoch) if name == "ada" and epoch > 1 else b"m" * 32 if name == "alone" else None
        found.append(
            Neuron(
                uid=uid,
                name=name,
                hotkey=bytes([uid]) * 32,
                coldkey=bytes([uid]) * 32,
                registered_at=0,
                registered_epoch=0,
                last_update=0,
                permit=uid < 3,
                manifest=manifest,
                revealed_epoch=epoch if uid < 3 else -1,
            )
        )
    return found


def finding(epoch: int, bits: dict[int, float], parameters: bytes, refused: str = "") -> Finding:
    told = tuple(
        ContributionFinding(uid=uid, bits=value, bits_se=0.001, applied_bits=value if epoch > 1 and uid < 5 else None)
        for uid, value in bits.items()
    )
    if refused:
        told = (*told, ContributionFinding(uid=5, refusal=refused))
    learned = RoundFinding(
        cohort=NAME,
        parameters=parameters,
        manifest=theta(epoch),
        path_bits=sum(bits.values()),
        measured_bits=sum(bits.values()),
        contributions=told,
    )
    measured = 5.0 - 0.3 * epoch
    return Finding(
        baseline=5.0,
        known=4.5,
        collective=measured - 0.1,
        new_bits=0.1,
        new_bits_se=0.01,
        events=100,
        neurons=(
            NeuronFinding(uid=3, bits_per_byte=measured if epoch > 1 else None),
            NeuronFinding(uid=7, bits_per_byte=measured + 0.2),
        ),
        rounds=(learned,),
    )


def record(epoch: int, findings: dict[int, Finding], earlier: list[EpochRecord], *, agreed: bool = True) -> EpochRecord:
    row = Cohort(
        epoch=epoch if agreed else epoch - 1,
        parameters=theta(epoch),
        manifest=theta(epoch),
        accepted=(Accepted(uid=3, payload=payload(3, epoch)), Accepted(uid=4, payload=payload(4, epoch))),
        sums=(UpdateValue(uid=3, value=50_000_000),),
    )
    contributions = {
        uid: Contribution(cohort=NAME, epoch=epoch, parameters=theta(epoch), payload=payload(uid, epoch), place=uid)
        for uid in (3, 4, 5)
    }
    facts = EpochFacts(
        epoch=epoch,
        neurons=neurons(epoch),
        stakes_rao=[*STAKES, 0, 0, 0, 0, 0],
        findings=findings,
        contributions=contributions,
        sizes={payload(uid, epoch): 9_000 for uid in (3, 4, 5)},
        losses={"ada": 4.0, "grace": 5.0},
        left_out={"slow": "late: its job took longer than 9 s"},
        earlier=earlier,
    )
    rounds = round_records([RoundFacts("bytes", NAME, SIZE, PAGE_BYTES, MEMBERS, row)], facts)
    return epoch_record(
        epoch=epoch,
        height=3 * epoch,
        block_hash=bytes(32),
        minted_rao=0,
        final=True,
        seconds=Seconds(query=0, value=0, train=0, close=0),
        findings=findings,
        neurons=neuron_records(facts.neurons, facts.stakes_rao, findings, epoch, rounds=rounds),
        rounds=rounds,
    )


@pytest.fixture
def epochs() -> list[EpochRecord]:
    found: list[EpochRecord] = []
    for epoch in (1, 2, 3):
        bits = {3: 0.03, 4: 0.01, 5: -0.02}
        other = {3: 0.5, 4: 0.5, 5: 0.5}
        findings = {
            0: finding(epoch, bits, theta(epoch)),
            1: finding(epoch, {uid: 2 * value for uid, value in bits.items()}, theta(epoch)),
            2: finding(epoch, other, theta(9)),
        }
        found.append(record(epoch, findings, list(found)))
    return found


def test_who_is_taken_and_why_the_others_are_not(epochs: list[EpochRecord]) -> None:
    (learned,) = epochs[1].rounds
    assert learned.taken == ("ada", "grace")
    assert [(member.name, member.code) for member in learned.refused] == [
        ("flip", "no_gain"),
        ("slow", "late"),
        ("stranger", "absent"),
    ]
    ada = learned.members[0]
    assert ada.bits == pytest.approx(0.03), "half of the stake; what is said of other parameters counts as 0"
    assert ada.applied_bits == pytest.approx(0.03)
    assert ada.sum_bits == pytest.approx(0.05)
    assert learned.members[2].bits == pytest.approx(-0.02)
    assert learned.measured_bits == pytest.approx((300 * 0.02 + 200 * 0.04) / 500)
    statuses = {neuron.name: (neuron.kind, neuron.status) for neuron in epochs[1].neurons}
    assert statuses["ada"] == ("cohort", "ok")
    assert statuses["flip"] == ("cohort", "refused")
    assert statuses["slow"] == ("cohort", "late")
    assert statuses["alone"] == ("hosted", "ok")


def test_bytes_and_text_add_up(epochs: list[EpochRecord]) -> None:
    rounds = [each for epoch in epochs for each in epoch.rounds]
    assert [each.tokens for each in rounds] == [3 * PAGE_BYTES, 6 * PAGE_BYTES, 9 * PAGE_BYTES]
    assert [each.sent_bytes for each in rounds] == [27_000] * 3
    assert rounds[-1].sent_bytes_so_far == 81_000
    assert rounds[-1].dense_bytes_so_far == 9 * 4 * SIZE
    assert rounds[-1].loss_bits_per_byte == pytest.approx(4.5)
    assert [each.bits_per_byte for each in rounds] == [None, pytest.approx(4.4), pytest.approx(4.1)]


def test_a_refusal_is_what_most_of_the_stake_says() -> None:
    bits = {3: 0.03, 4: 0.01}
    findings = {
        0: finding(1, bits, theta(1), "hash: the file is not what was committed to"),
        1: finding(1, bits, theta(1), "missing: there is no such file"),
        2: finding(1, bits, theta(1), "missing: there is no such file"),
    }
    (flip,) = [member for member in record(1, findings, []).rounds[0].members if member.name == "flip"]
    assert (flip.code, flip.bits) in {("hash", None), ("missing", None)}
    findings[2] = finding(1, bits, theta(1), "hash: the file is not what was committed to")
    (flip,) = [member for member in record(1, findings, []).rounds[0].members if member.name == "flip"]
    assert flip.code == "hash"
    assert flip.sentence == "the file is not what was committed to"


def test_a_round_without_agreement_takes_nobody() -> None:
    told = record(2, {0: finding(2, {3: 0.1}, theta(8))}, [], agreed=False)
    assert told.rounds[0].taken == ()
    assert {member.code for member in told.rounds[0].members[:3]} == {"undecided"}
    told = finding(2, {}, b"")
    unable = replace(told, rounds=(replace(told.rounds[0], problem="no host weighed it"),))
    lost = record(2, {0: unable}, [], agreed=False).rounds[0]
    assert lost.members[0].sentence.endswith("no host weighed it")
    assert lost.path_bits is None
    silent = record(2, {}, [], agreed=False)
    assert silent.rounds[0].parameters == ""


def test_what_a_person_sees(epochs: list[EpochRecord]) -> None:
    console = Console(file=io.StringIO(), width=80)
    learned = epochs[-1].rounds[0]
    console.print(neuron_table(epochs[-1]))
    console.print(round_table(learned))
    console.print(round_line(learned))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "cohort bytes",
        "late: its job took longer than 9 s",
        "2 of 5 updates",
        "142 times less",
        "out 4.100",
    ):
        assert words in shown, shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_records_and_figure_are_kept_in_the_home(epochs: list[EpochRecord], tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert draw_rounds(home) is None
    alone = replace(epochs[0], rounds=())
    append_epoch(home.epochs, alone)
    unbegun = replace(epochs[0], rounds=(replace(epochs[0].rounds[0], tokens=0),))
    append_epoch(home.epochs, unbegun)
    assert draw_rounds(home) is None
    for epoch in epochs:
        append_epoch(home.epochs, epoch)
    assert read_epochs(home.epochs) == [alone, unbegun, *epochs]
    assert draw_rounds(home) == home.rounds_plot
    assert home.rounds_plot.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []


def test_status_names_cohorts_as_the_home_does(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.cohorts.mkdir(parents=True)
    (home.cohorts / "bytes.json").write_text(f'{{"id": "{NAME.hex()}", "manifest": ""}}')
    (home.cohorts / "half.json").write_text('{"id": ')
    state = create_state(Genesis(network="tiny", keeper=bytes(32)))
    row = Cohort(
        epoch=3,
        parameters=theta(3),
        manifest=theta(3),
        accepted=(Accepted(uid=9, payload=payload(9, 3)),),
        sums=(UpdateValue(uid=9, value=50_000_000),),
    )
    state.cohort_rows.put(NAME, row)
    state.cohort_rows.put(b"d" * 32, row)
    known, unknown = cohort_standings(home, state)
    assert (known.name, unknown.name) == ("bytes", "64" * 8)
    assert (known.accepted, known.sums_bits) == (("uid 9",), {"uid 9": 0.05})
    console = Console(file=io.StringIO(), width=80)
    console.print(cohort_table((known, unknown)))
    assert "0.05000   yes" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_terminal_shows_rounds_that_have_begun(
    epochs: list[EpochRecord], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with Terminal() as terminal:
        terminal.epoch(replace(epochs[0], rounds=(replace(epochs[0].rounds[0], tokens=0),)))
        assert "cohort bytes begins with the next epoch" in capsys.readouterr().err
        terminal.epoch(epochs[0])
        assert "no_gain: it is not worth" in capsys.readouterr().err


def test_the_metagraph_says_what_the_ledger_has_of_members(epochs: list[EpochRecord]) -> None:
    none = {"epoch": 3, "height": 9, "stake_rao": 0, "emission_rao": 0} | dict.fromkeys(
        ("incentive_q31", "dividends_q31", "validator_trust_q31"), 0
    )
    rows = [
        none
        | {"uid": neuron.uid, "name": neuron.name, "hotkey": neuron.hotkey}
        | {
            "cohort": NAME.hex() if neuron.kind == "cohort" else None,
            "update_accepted": neuron.status == "ok",
            "update_sum_nano": 50_000_000,
        }
        for neuron in epochs[-1].neurons
    ]
    console = Console(file=io.StringIO(), width=80)
    console.print(metagraph_table(rows, {3: epochs[-1]}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "ada in cohort 63636363: sum 0.05000, update taken" in shown
    assert "flip in cohort 63636363: sum 0.05000, update not taken" in shown
    assert "alone in cohort" not in shown

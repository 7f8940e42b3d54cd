"""Metrics: declared once, figures of a record and nothing else."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.dispatch import Failure, Reason
from actors.host import ScoreReceipt
from actors.spans import Span
from cluster.observe.facts import Asked, count_asked, driver_facts, host_works
from cluster.observe.metrics import METRICS, MOST_NEURONS, sample, samples
from cluster.report import EpochRecord, MemberRecord, NeuronRecord, RoundRecord, Seconds

UNITS = {"seconds", "rao", "bits_per_byte", "ratio", "bytes"}
LABELS = {"uid", "name", "host", "validator", "cohort", "step", "reason", "level"}


def neuron(uid: int, name: str, kind: str = "hosted", status: str = "ok") -> NeuronRecord:
    return NeuronRecord(
        uid=uid,
        name=name,
        hotkey="5x",
        kind=kind,
        bits_per_byte=3.5 if kind == "hosted" else None,
        new_bits=0.25 if kind == "hosted" else None,
        new_bits_se=None,
        account_bits=None,
        share_bits=None,
        incentive=0.5,
        dividends=0.0,
        emission_rao=7,
        stake_rao=9,
        status=status,
    )


def record() -> EpochRecord:
    return EpochRecord(
        epoch=4,
        height=12,
        block_hash="ab" * 32,
        collective_bits_per_byte=3.0,
        best_peer_bits_per_byte=3.5,
        baseline_bits_per_byte=5.0,
        new_bits=None,
        minted_rao=360,
        to_stake=False,
        final=True,
        seconds=Seconds(query=1, value=2, train=3, close=4),
        neurons=(neuron(0, "vera", "validator"), neuron(1, "ada"), neuron(2, "bob", status="late")),
        rounds=(
            RoundRecord(
                cohort="c",
                id="aa",
                agreed=True,
                parameters="",
                manifest="",
                bits_per_byte=4.0,
                loss_bits_per_byte=None,
                tokens=5,
                sent_bytes=6,
                dense_bytes=7,
                sent_bytes_so_far=8,
                dense_bytes_so_far=9,
                path_bits=None,
                measured_bits=None,
                members=(MemberRecord(uid=1, name="ada"), MemberRecord(uid=2, name="bob", code="late")),
            ),
        ),
        issuance_rao=1000,
        closed_s=1_700_000_000.0,
        asked=Asked(asked=3, answered=1, failed={"late": 1}, windows=8),
        hosts=host_works([receipt("host-1", b"a", 8)]),
        driver=driver_facts(Path(__file__).parent, Path(__file__).parent),
    )


def receipt(host: str, version: bytes, windows: int) -> ScoreReceipt:
    return ScoreReceipt(windows=windows, size_bytes={version: 100}, host=host, spans=(Span("score", 1.0, 3.5),))


def figures(of: EpochRecord) -> dict[tuple[str, ...], float]:
    return {(figure.metric.name, *figure.labels.values()): figure.value for figure in samples(of)}


def test_every_metric_is_well_declared() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"taoray_[a-z_]+", name)
        assert set(metric.labels) <= LABELS
        assert metric.unit == "" or (metric.unit in UNITS and name.endswith(metric.unit)), name
        assert metric.sentence.endswith(".")
        assert metric.sentence.isascii()
        assert metric.kind != "counter" or not name.endswith("total"), "Ray adds it"


def test_a_record_has_a_figure_for_every_metric_that_is_not_live_and_was_measured() -> None:
    told = {figure.metric.name for figure in samples(record())}
    absent = {name for name, metric in METRICS.items() if not metric.live} - told
    assert absent == {
        "taoray_new_bits_per_byte",
        "taoray_cohort_loss_bits_per_byte",
        "taoray_neuron_share_bits_per_byte",
    }
    assert all(set(figure.labels) == set(figure.metric.labels) for figure in samples(record()))


def test_figures_are_those_of_the_record() -> None:
    found = figures(record())
    assert found["taoray_epoch_seconds",] == 10
    assert found["taoray_part_seconds", "train"] == 3
    assert found["taoray_neurons", "late"] == 1
    assert found["taoray_neurons", "dead"] == 0
    assert found["taoray_neuron_ok", "2", "bob"] == 0
    assert found["taoray_revealed_validators", "vera"] == 1
    assert found["taoray_failed_versions", "late"] == 1
    assert found["taoray_unaccounted_versions",] == 1
    assert found["taoray_cohort_members", "c"] == 1
    assert found["taoray_host_busy_seconds", "host-1"] == 2.5
    assert ("taoray_neuron_bits_per_byte", "0", "vera") not in found


def test_a_large_network_is_counted_and_not_listed() -> None:
    large = replace(record(), neurons=tuple(neuron(uid, f"n{uid}") for uid in range(MOST_NEURONS + 1)))
    found = figures(large)
    assert found["taoray_neurons", "ok"] == MOST_NEURONS + 1
    assert not any(name.startswith("taoray_neuron_") for name, *_ in found)


def test_a_figure_without_its_labels_is_refused() -> None:
    with pytest.raises(KeyError):
        list(sample("taoray_part_seconds", 1.0))
    with pytest.raises(KeyError):
        list(sample("taoray_unknown", 1.0))


def test_answers_are_counted_apart_from_failures() -> None:
    late = {b"c": Failure(Reason.LATE, "no answer")}
    receipts = [receipt("h", b"a", 4), receipt("h", b"a", 4), receipt("h", b"b", 4), receipt("h", b"c", 8)]
    counted = count_asked([b"a", b"b", b"c", b"r"], 8, receipts, [b"r"], late)
    assert counted == Asked(asked=4, answered=2, failed={"late": 1}, windows=8)
    assert counted.unaccounted == 1  # b has half of its windows, and no reason
    assert count_asked([], 0, [], [], {}).unaccounted == 0


def test_hosts_are_summed_over_their_receipts() -> None:
    work = host_works([receipt("h2", b"a", 4), receipt("h1", b"b", 2), receipt("h2", b"a", 4)])
    assert [(each.host, each.calls, each.windows, each.versions) for each in work] == [("h1", 1, 2, 1), ("h2", 2, 8, 1)]
    assert work[1].weights_bytes == 100
    assert work[1].busy_seconds == 5.0


def test_the_driver_knows_its_process_and_its_disk(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    (ledger / "chain.db").write_bytes(bytes(1000))
    facts = driver_facts(tmp_path, ledger)
    assert facts.ledger_bytes == 1000
    assert facts.free_bytes > 0
    assert facts.threads >= 1
    if Path("/proc/self").exists():
        assert facts.resident_bytes > 1 << 20
        with (ledger / "chain.db").open("rb"):
            assert driver_facts(tmp_path, ledger).open_files == facts.open_files + 1
    gone = driver_facts(tmp_path / "none", tmp_path / "none")
    assert (gone.ledger_bytes, gone.free_bytes) == (0, 0)

"""The metrics of a network, declared once, and the figures that an epoch's record has for each.

Invariants:
* every figure that is exported is one of `METRICS`, with its unit as the last word of its name and all of its labels;
* the figures of an epoch are a pure function of its record, so that what a monitor shows is in `epochs.jsonl` too;
* a figure that was not measured is not exported as 0.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cluster.report import EpochRecord, NeuronRecord, RoundRecord

Kind = Literal["gauge", "counter", "histogram"]

RAY_PREFIX = "ray_"
"""What Ray puts before every name that it exports; after a counter's it puts `_total`."""

MOST_NEURONS = 512
"""Of a larger network neurons are counted, and not exported one by one: each has eight series."""

EPOCH_BOUNDARIES_S = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        unit: of its figures; empty for a count.
        labels: beside `network`, which all have.
        sentence: what it says, in ASCII: Ray encodes it as the locale does.
        live: it is told while an epoch goes on; the others when it is closed.
    """

    name: str
    kind: Kind
    unit: str
    sentence: str
    labels: tuple[str, ...] = ()
    live: bool = False

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        ending = "_total" if self.kind == "counter" else ""
        return f"{RAY_PREFIX}{self.name}{ending}"


class Sample(NamedTuple):
    """A figure: set on a gauge, added to a counter, observed by a histogram."""

    metric: Metric
    value: float
    labels: dict[str, str]


_NEURON = ("uid", "name")
_ALL = (
    Metric("taoray_epochs", "counter", "", "Epochs that this driver closed."),
    Metric("taoray_epoch_seconds", "histogram", "seconds", "How long an epoch took, from its first step to its last."),
    Metric(
        "taoray_part_seconds", "gauge", "seconds", "How long a part of the last epoch took, by step.", labels=("step",)
    ),
    Metric("taoray_epoch_number", "gauge", "", "The last closed epoch."),
    Metric("taoray_block_height", "gauge", "", "The last close block's height; it is final."),
    Metric("taoray_closed_timestamp_seconds", "gauge", "seconds", "When the last epoch was closed, as Unix time."),
    Metric("taoray_issuance_rao", "gauge", "rao", "All RAO that exist."),
    Metric("taoray_minted_rao", "counter", "rao", "RAO that close blocks minted."),
    Metric(
        "taoray_collective_bits_per_byte", "gauge", "bits_per_byte", "What the collective needs for text it never saw."
    ),
    Metric("taoray_best_peer_bits_per_byte", "gauge", "bits_per_byte", "What the best single peer needs for it."),
    Metric("taoray_baseline_bits_per_byte", "gauge", "bits_per_byte", "What byte frequencies alone need for it."),
    Metric("taoray_new_bits_per_byte", "gauge", "bits_per_byte", "What the collective learned in the last epoch."),
    Metric("taoray_asked_versions", "gauge", "", "Versions and remote peers that were asked."),
    Metric("taoray_answered_versions", "gauge", "", "Those of them that answered for every window."),
    Metric(
        "taoray_failed_versions",
        "counter",
        "",
        "Versions and remote peers that did not answer, by reason: late, dead or invalid.",
        labels=("reason",),
    ),
    Metric("taoray_unaccounted_versions", "gauge", "", "Asked, without an answer and without a reason: always 0."),
    Metric(
        "taoray_neurons",
        "gauge",
        "",
        "Neurons by status, which is the reason: ok, late, dead, invalid, refused or idle.",
        labels=("reason",),
    ),
    Metric(
        "taoray_revealed_validators", "gauge", "", "Whether a validator's vote counted (1) or not (0).", ("validator",)
    ),
    Metric("taoray_neuron_ok", "gauge", "", "Whether a neuron's status is ok (1) or not (0).", _NEURON),
    Metric("taoray_neuron_bits_per_byte", "gauge", "bits_per_byte", "What a peer's version by itself needs.", _NEURON),
    Metric("taoray_neuron_new_bits_per_byte", "gauge", "bits_per_byte", "What a peer's new version added.", _NEURON),
    Metric("taoray_neuron_share_bits_per_byte", "gauge", "bits_per_byte", "A peer's part of the collective.", _NEURON),
    Metric("taoray_neuron_incentive_ratio", "gauge", "ratio", "A neuron's share of what peers are paid.", _NEURON),
    Metric("taoray_neuron_dividends_ratio", "gauge", "ratio", "A neuron's share of what stake is paid.", _NEURON),
    Metric("taoray_neuron_emission_rao", "gauge", "rao", "What the last close block paid a neuron.", _NEURON),
    Metric("taoray_neuron_stake_rao", "gauge", "rao", "The stake on a neuron's hotkey.", _NEURON),
    Metric("taoray_host_calls", "counter", "", "Calls that a host answered in query phases.", ("host",)),
    Metric("taoray_host_windows", "counter", "", "Windows that a host scored, summed over versions.", ("host",)),
    Metric("taoray_host_busy_seconds", "counter", "seconds", "How long a host worked in those calls.", ("host",)),
    Metric("taoray_host_versions", "gauge", "", "Versions that a host answered for.", ("host",)),
    Metric("taoray_host_weights_bytes", "gauge", "bytes", "What those occupy in its memory.", ("host",)),
    Metric("taoray_cohort_bits_per_byte", "gauge", "bits_per_byte", "What a cohort's model needs.", ("cohort",)),
    Metric("taoray_cohort_loss_bits_per_byte", "gauge", "bits_per_byte", "Its members' training loss.", ("cohort",)),
    Metric("taoray_cohort_sent_bytes", "counter", "bytes", "What a cohort's updates had.", ("cohort",)),
    Metric("taoray_cohort_members", "gauge", "", "Members of a cohort whose update was taken.", ("cohort",)),
    Metric("taoray_driver_resident_bytes", "gauge", "bytes", "Memory that the driver holds."),
    Metric("taoray_driver_threads", "gauge", "", "The driver's threads."),
    Metric("taoray_driver_open_files", "gauge", "", "Files and sockets that the driver has open."),
    Metric("taoray_home_ledger_bytes", "gauge", "bytes", "What the ledger's folder in the home has."),
    Metric("taoray_home_free_bytes", "gauge", "bytes", "What is free on the home's disk."),
    Metric("taoray_open_epoch_number", "gauge", "", "The epoch that is under way.", live=True),
    Metric(
        "taoray_step_timestamp_seconds",
        "gauge",
        "seconds",
        "When a step last began, as Unix time: the latest of them is under way.",
        ("step",),
        live=True,
    ),
    Metric("taoray_step_answers", "gauge", "", "Answers that are there in what is waited for now.", live=True),
    Metric("taoray_step_expected_answers", "gauge", "", "Answers that it waits for; 0: it is no count.", live=True),
    Metric("taoray_notes", "counter", "", "Notes for a person, which the log has, by level.", ("level",), live=True),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""By name, in the order of the documentation."""


def samples(record: EpochRecord) -> list[Sample]:
    """Every figure that a closed epoch has."""
    return [*_epoch(record), *_asked(record), *_neurons(record), *_hosts(record), *_rounds(record), *_driver(record)]


def sample(name: str, value: float | None, /, **labels: str) -> Iterator[Sample]:
    """A figure of a metric; none where it was not measured. KeyError: no such metric."""
    metric = METRICS[name]
    if set(labels) != set(metric.labels):
        raise KeyError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
    if value is not None:
        yield Sample(metric, float(value), labels)


def _epoch(record: EpochRecord) -> Iterator[Sample]:
    seconds = record.seconds
    parts = {"query": seconds.query, "value": seconds.value, "train": seconds.train, "close": seconds.close}
    yield from sample("taoray_epochs", 1)
    yield from sample("taoray_epoch_seconds", sum(parts.values()))
    for step, took in parts.items():
        yield from sample("taoray_part_seconds", took, step=step)
    yield from sample("taoray_epoch_number", record.epoch)
    yield from sample("taoray_block_height", record.height)
    yield from sample("taoray_closed_timestamp_seconds", record.closed_s or None)
    yield from sample("taoray_issuance_rao", record.issuance_rao)
    yield from sample("taoray_minted_rao", record.minted_rao)
    yield from sample("taoray_collective_bits_per_byte", record.collective_bits_per_byte)
    yield from sample("taoray_best_peer_bits_per_byte", record.best_peer_bits_per_byte)
    yield from sample("taoray_baseline_bits_per_byte", record.baseline_bits_per_byte)
    yield from sample("taoray_new_bits_per_byte", record.new_bits)


def _asked(record: EpochRecord) -> Iterator[Sample]:
    if record.asked is None:
        return
    yield from sample("taoray_asked_versions", record.asked.asked)
    yield from sample("taoray_answered_versions", record.asked.answered)
    yield from sample("taoray_unaccounted_versions", record.asked.unaccounted)
    for reason, count in record.asked.failed.items():
        yield from sample("taoray_failed_versions", count, reason=reason)


def _neurons(record: EpochRecord) -> Iterator[Sample]:
    counts = Counter({"ok": 0, "late": 0, "dead": 0, "invalid": 0, "refused": 0, "idle": 0})
    counts.update(neuron.status for neuron in record.neurons)
    for status, count in counts.items():
        yield from sample("taoray_neurons", count, reason=status)
    for neuron in record.neurons:
        if neuron.kind == "validator":
            yield from sample("taoray_revealed_validators", neuron.status == "ok", validator=neuron.name)
    if len(record.neurons) <= MOST_NEURONS:
        for neuron in record.neurons:
            yield from _neuron(neuron)


def _neuron(neuron: NeuronRecord) -> Iterator[Sample]:
    who = {"uid": str(neuron.uid), "name": neuron.name}
    yield from sample("taoray_neuron_ok", neuron.status == "ok", **who)
    yield from sample("taoray_neuron_bits_per_byte", neuron.bits_per_byte, **who)
    yield from sample("taoray_neuron_new_bits_per_byte", neuron.new_bits, **who)
    yield from sample("taoray_neuron_share_bits_per_byte", neuron.share_bits, **who)
    yield from sample("taoray_neuron_incentive_ratio", neuron.incentive, **who)
    yield from sample("taoray_neuron_dividends_ratio", neuron.dividends, **who)
    yield from sample("taoray_neuron_emission_rao", neuron.emission_rao, **who)
    yield from sample("taoray_neuron_stake_rao", neuron.stake_rao, **who)


def _hosts(record: EpochRecord) -> Iterator[Sample]:
    for work in record.hosts:
        yield from sample("taoray_host_calls", work.calls, host=work.host)
        yield from sample("taoray_host_windows", work.windows, host=work.host)
        yield from sample("taoray_host_busy_seconds", work.busy_seconds, host=work.host)
        yield from sample("taoray_host_versions", work.versions, host=work.host)
        yield from sample("taoray_host_weights_bytes", work.weights_bytes, host=work.host)


def _rounds(record: EpochRecord) -> Iterator[Sample]:
    for row in record.rounds:
        yield from _round(row)


def _round(row: RoundRecord) -> Iterator[Sample]:
    yield from sample("taoray_cohort_bits_per_byte", row.bits_per_byte, cohort=row.cohort)
    yield from sample("taoray_cohort_loss_bits_per_byte", row.loss_bits_per_byte, cohort=row.cohort)
    yield from sample("taoray_cohort_sent_bytes", row.sent_bytes, cohort=row.cohort)
    yield from sample("taoray_cohort_members", sum(not member.code for member in row.members), cohort=row.cohort)


def _driver(record: EpochRecord) -> Iterator[Sample]:
    if record.driver is None:
        return
    yield from sample("taoray_driver_resident_bytes", record.driver.resident_bytes)
    yield from sample("taoray_driver_threads", record.driver.threads)
    yield from sample("taoray_driver_open_files", record.driver.open_files)
    yield from sample("taoray_home_ledger_bytes", record.driver.ledger_bytes)
    yield from sample("taoray_home_free_bytes", record.driver.free_bytes)

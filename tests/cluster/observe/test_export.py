"""Figures on their way to Ray: what is set again, what is forgotten, and what fails alone."""

from collections import defaultdict
from typing import Any

import pytest

from cluster.observe.export import Exporter
from cluster.observe.metrics import METRICS, Metric, sample


class Kept:
    """A metric that keeps what it is given, as Ray's do."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.given: list[tuple[float, dict[str, str]]] = []

    def _keep(self, value: float, labels: dict[str, str]) -> None:
        for label in labels.values():
            label.encode("ascii")
        assert set(labels) == set(self.labels)
        self.given.append((value, labels))

    set = inc = observe = _keep


@pytest.fixture
def made() -> dict[str, Kept]:
    return {}


@pytest.fixture
def exporter(made: dict[str, Kept]) -> Exporter:
    def make(metric: Metric, labels: tuple[str, ...]) -> Any:
        return made.setdefault(metric.name, Kept(labels))

    return Exporter("n", make)


def totals(made: dict[str, Kept]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for name, kept in made.items():
        found[name] += [value for value, _ in kept.given]
    return found


def test_gauges_are_set_again_and_counters_are_not(exporter: Exporter, made: dict[str, Kept]) -> None:
    exporter.tell(sample("taoray_notes", 1, level="note"))
    exporter.close_epoch([*sample("taoray_block_height", 3), *sample("taoray_epoch_seconds", 2.0)])
    exporter.repeat()
    assert totals(made) == {"taoray_notes": [1], "taoray_block_height": [3, 3], "taoray_epoch_seconds": [2.0]}
    assert made["taoray_notes"].given[0][1] == {"network": "n", "level": "note"}


def test_a_neuron_that_is_gone_is_not_set_again(exporter: Exporter, made: dict[str, Kept]) -> None:
    exporter.tell(sample("taoray_open_epoch_number", 2))
    exporter.close_epoch(sample("taoray_neuron_ok", 1, uid="1", name="ada"))
    exporter.close_epoch(sample("taoray_neuron_ok", 1, uid="2", name="bob"))
    made["taoray_neuron_ok"].given.clear()
    exporter.repeat()
    assert [labels["name"] for _, labels in made["taoray_neuron_ok"].given] == ["bob"]
    assert totals(made)["taoray_open_epoch_number"] == [2, 2]


def test_a_counter_never_goes_back(exporter: Exporter, made: dict[str, Kept]) -> None:
    exporter.tell([*sample("taoray_minted_rao", 0), *sample("taoray_minted_rao", 5)])
    assert totals(made)["taoray_minted_rao"] == [5]


def test_labels_are_ascii_whatever_they_say(exporter: Exporter, made: dict[str, Kept]) -> None:
    exporter.tell(sample("taoray_neuron_ok", 1, uid="1", name="zoë…"))
    assert made["taoray_neuron_ok"].given[0][1]["name"] == "zo\\xeb\\u2026"


def test_one_metric_that_fails_costs_no_other() -> None:
    kept = Kept(("network",))

    def make(metric: Metric, labels: tuple[str, ...]) -> Any:
        if metric.name == "taoray_block_height":
            raise RuntimeError("no agent")
        return kept

    exporter = Exporter("n", make)
    exporter.close_epoch([*sample("taoray_block_height", 3), *sample("taoray_epoch_number", 1)])
    exporter.repeat()
    assert [value for value, _ in kept.given] == [1, 1]


def test_without_ray_nothing_happens() -> None:
    exporter = Exporter("n")
    exporter.start()
    exporter.close_epoch(sample("taoray_block_height", 3))
    exporter.repeat()
    exporter.stop()
    assert METRICS

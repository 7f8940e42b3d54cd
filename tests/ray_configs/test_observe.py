"""The dashboard, the alerts and what Prometheus scrapes, against the metrics that are declared."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.observe.metrics import METRICS, Metric

FOLDER = Path(__file__).parents[2] / "ray_configs" / "observe"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]

ENDINGS = ("_bucket", "_sum", "_count")
BY_EXPORTED = {metric.exported: metric for metric in METRICS.values()} | {
    f"{metric.exported}{ending}": metric
    for metric in METRICS.values()
    if metric.kind == "histogram"
    for ending in ENDINGS
}


def metrics_in(expression: str) -> list[Metric]:
    """The metrics that an expression reads. KeyError for one that is not declared, or not by that name."""
    names = re.findall(r"\b(?:ray_)?taoray_\w+", expression)
    assert names, expression
    for name in names:
        if BY_EXPORTED[name].kind == "histogram":
            assert name.endswith(ENDINGS), f"{name} is a histogram: {expression}"
    return [BY_EXPORTED[name] for name in names]


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def label_words(expression: str) -> set[str]:
    return {word.strip() for words in re.findall(r"\bby \(([^)]*)\)", expression) for word in words.split(",")}


def test_every_metric_is_shown_and_every_one_shown_is_declared() -> None:
    shown = {metric.name for panel in PANELS for text in expressions(panel) for metric in metrics_in(text)}
    assert shown == set(METRICS)


def test_a_name_that_is_not_declared_is_found() -> None:
    with pytest.raises(KeyError):
        metrics_in('max(ray_taoray_epochs{network="x"})')
    with pytest.raises(AssertionError, match="histogram"):
        metrics_in("rate(ray_taoray_epoch_seconds[5m])")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_reads_what_its_metrics_have(panel: dict[str, Any]) -> None:
    assert panel["type"] in ("timeseries", "stat", "bargauge")
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    said = []
    for target in panel["targets"]:
        found = metrics_in(target["expr"])
        said += [metric.sentence for metric in found]
        labels = {label for metric in found for label in metric.labels} | {"network", "le"}
        assert label_words(target["expr"]) <= labels
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= label_words(target["expr"])
        assert target["expr"].count('{network="$network"}') == len(found)
        for metric in found:
            over_time = re.search(rf"\b(rate|increase)\({metric.exported}\w*{{", target["expr"])
            assert (metric.kind != "gauge") == bool(over_time), target["expr"]
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for opened, closed in ("()", "{}", "[]"):
            assert target["expr"].count(opened) == target["expr"].count(closed)
    assert all(sentence in panel["description"] for sentence in said)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for metric in metrics_in(expressions(panel)[0]):
        if metric.unit == "bytes":
            assert unit == "bytes"
        if metric.unit == "rao":
            assert all("/ 1e9" in text for text in expressions(panel))


def test_grafana_can_lay_it_out() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"] == DASHBOARD["uid"] == "taoray"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "network"}
    assert re.fullmatch(r"label_values\((\w+), network\)", variables["network"]["definition"])
    assert metrics_in(variables["network"]["definition"])


def test_alerts_are_rules_of_declared_metrics() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 5
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations", "keep_firing_for"}
        assert rule["labels"]["severity"] in ("page", "warn")
        assert set(rule["annotations"]) == {"summary", "description"}
        for metric in metrics_in(rule["expr"]):
            assert label_words(rule["expr"]) <= {*metric.labels, "network"}
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert used <= label_words(rule["expr"])


def test_prometheus_reads_the_alerts_and_the_list_that_ray_keeps() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert set(config) == {"global", "rule_files", "scrape_configs"}
    assert all((FOLDER / name).is_file() for name in config["rule_files"])
    (job,) = config["scrape_configs"]
    (source,) = job["file_sd_configs"]
    assert source["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]

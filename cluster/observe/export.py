"""Metrics given to Ray, which every node's agent offers to Prometheus.

Invariants: nothing is given before Ray is there; what Ray does with a figure, or fails to do, never reaches the run.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Any

from cluster.observe.metrics import EPOCH_BOUNDARIES_S, METRICS, Metric, Sample

_log = logging.getLogger(__name__)


class Exporter:
    """Gives a network's figures to Ray, once it runs in this process."""

    def __init__(self, network: str) -> None:
        self._network = network
        self._made: dict[str, Any] = {}
        self._failed = False

    def give(self, figures: Iterable[Sample]) -> None:
        """Set gauges, add to counters, observe. Without Ray nothing; after a failure never again."""
        ray = sys.modules.get("ray")
        if self._failed or ray is None or not ray.is_initialized():
            return
        try:
            for figure in figures:
                self._give(figure)
        except Exception as error:  # Ray's own: figures are lost, the run is not
            self._failed = True
            _log.warning("no metrics are exported any more: %s", error)

    def _give(self, figure: Sample) -> None:
        made = self._made.get(figure.metric.name) or self._make(figure.metric)
        labels = {"network": self._network, **figure.labels}
        match figure.metric.kind:
            case "gauge":
                made.set(figure.value, labels)
            case "counter":
                if figure.value > 0:
                    made.inc(figure.value, labels)
            case "histogram":
                made.observe(max(figure.value, 1e-9), labels)

    def _make(self, metric: Metric) -> Any:
        from ray.util import metrics as of_ray  # Ray runs by now; reading declarations does not need it

        labels = ("network", *METRICS[metric.name].labels)
        match metric.kind:
            case "gauge":
                made: Any = of_ray.Gauge(metric.name, metric.sentence, labels)
            case "counter":
                made = of_ray.Counter(metric.name, metric.sentence, labels)
            case "histogram":
                made = of_ray.Histogram(metric.name, metric.sentence, list(EPOCH_BOUNDARIES_S), labels)
        self._made[metric.name] = made
        return made

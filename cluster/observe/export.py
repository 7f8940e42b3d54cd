"""Metrics given to Ray, which every node's agent offers to Prometheus.

Invariants:
* nothing is given before Ray is there; what Ray does with a figure, or fails to do, never reaches the run;
* Ray 2.60 forgets a gauge that was not set since it last collected: gauges are set again for as long as the run lasts,
  and those of an epoch before only until the next one is closed.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from cluster.observe.metrics import EPOCH_BOUNDARIES_S, Metric, Sample

AGAIN_S = 5.0
"""How often gauges are set again: Ray collects every 10 s."""

_log = logging.getLogger(__name__)

Make = Callable[[Metric, tuple[str, ...]], Any]
"""Makes what Ray, or something like it, keeps a metric's figures in, with its labels."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Exporter:
    """Gives a network's figures to Ray, once it runs in this process. To be used from any thread."""

    def __init__(self, network: str, make: Make | None = None) -> None:
        self._network = _ascii(network)
        self._make = make or _make
        self._ready: Callable[[], bool] = _ray_runs if make is None else lambda: True
        self._made: dict[str, Any] = {}
        self._failed: set[str] = set()
        self._live: dict[_Key, Sample] = {}
        self._closed: dict[_Key, Sample] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._again, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to set gauges again."""
        self._thread.start()

    def stop(self) -> None:
        """End that."""
        self._ended.set()
        self._thread.join()

    def tell(self, figures: Iterable[Sample]) -> None:
        """Figures of what goes on: set gauges, add to counters, observe."""
        with self._lock:
            self._tell(figures, self._live)

    def close_epoch(self, figures: Iterable[Sample]) -> None:
        """The figures of an epoch, in the place of those of the one before."""
        with self._lock:
            self._closed = {}
            self._tell(figures, self._closed)

    def repeat(self) -> None:
        """Set every gauge again."""
        with self._lock:
            for figure in (*self._live.values(), *self._closed.values()):
                self._give(figure)

    def _tell(self, figures: Iterable[Sample], kept: dict[_Key, Sample]) -> None:
        for figure in figures:
            self._give(figure)
            if figure.metric.kind == "gauge":
                kept[figure.metric.name, tuple(sorted(figure.labels.items()))] = figure

    def _give(self, figure: Sample) -> None:
        metric = figure.metric
        if metric.name in self._failed or not self._ready():
            return
        try:
            labels = {"network": self._network, **{key: _ascii(value) for key, value in figure.labels.items()}}
            if metric.name not in self._made:
                self._made[metric.name] = self._make(metric, tuple(labels))
            made = self._made[metric.name]
            match metric.kind:
                case "gauge":
                    made.set(figure.value, labels)
                case "counter" if figure.value > 0:
                    made.inc(figure.value, labels)
                case "histogram":
                    made.observe(figure.value, labels)
        except Exception as error:  # Ray's own: a metric is lost, the run is not
            self._failed.add(metric.name)
            _log.warning("%s is not exported any more: %s", metric.name, error)

    def _again(self) -> None:
        while not self._ended.wait(AGAIN_S):
            self.repeat()


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _make(metric: Metric, labels: tuple[str, ...]) -> Any:
    from ray.util import metrics as of_ray  # Ray runs by now; reading declarations does not need it

    match metric.kind:
        case "gauge":
            return of_ray.Gauge(metric.name, metric.sentence, labels)
        case "counter":
            return of_ray.Counter(metric.name, metric.sentence, labels)
        case "histogram":
            return of_ray.Histogram(metric.name, metric.sentence, list(EPOCH_BOUNDARIES_S), labels)


def _ascii(label: str) -> str:
    """Ray encodes labels as the locale does, which may be plain ASCII."""
    return label.encode("ascii", "backslashreplace").decode("ascii")

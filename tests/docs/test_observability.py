"""docs/observability.md against the code: every metric, and every field of a line of the log."""

import re
from pathlib import Path

from cluster.observe.log import MOST_BYTES, LogLine
from cluster.observe.metrics import METRICS, MOST_NEURONS

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")


def test_every_metric_stands_in_the_page() -> None:
    rows = re.findall(r"^\| `(ray_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", PAGE, flags=re.MULTILINE)
    written = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), says) for name, kind, labels, says in rows]
    assert written == [(m.exported, m.kind, m.labels, m.sentence) for m in METRICS.values()]
    assert f"more than {MOST_NEURONS:,} neurons" in PAGE


def test_every_field_of_the_log_stands_in_the_page() -> None:
    table = PAGE.partition("| field of a line | |\n")[2].partition("\n\n")[0]
    fields = {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert fields == set(LogLine.__struct_fields__)
    assert f"at most {MOST_BYTES >> 20} MiB" in PAGE

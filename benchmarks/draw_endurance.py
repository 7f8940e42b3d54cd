"""Write the tables of docs/endurance.md from the records of soak.py and slow_peers.py.

Run: `python -m benchmarks.draw_endurance`.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "endurance.md"
RESULTS = ROOT / "benchmarks" / "results"
TABLES = ("soak", "slow_peers")
PROCESSES = ("driver", "keeper", "validator 1", "validator 2", "host 1", "gcs", "raylet")
LEAST_BYTES = 1 << 16
"""What a part of the home has at the end, at least, to be in the table."""


def rendered(page: str) -> str:
    """The page with the tables of today's records."""
    for name in TABLES:
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(begin)
        page = before + begin + "\n" + table(name) + "\n" + end + rest.partition(end)[2]
    return page


def table(name: str) -> str:
    """One table, from its record."""
    found = json.loads((RESULTS / f"{name}.json").read_text())["measured"]
    lines = soak_lines(found) if name == "soak" else slow_lines(found)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def soak_lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """What every process and every part of the home holds half-way and at the end, and what an epoch adds."""
    series, epochs = found["series"], found["epochs"]
    lines = [(f"{epochs:,} epochs", "half-way", "at the end", "an epoch adds, in the second half")]
    lines.append(("---", "---:", "---:", "---:"))
    processes = [name for name in map("{} memory_bytes".format, PROCESSES) if name in series]
    folders = [name for name, row in series.items() if name.startswith("home ") and name.endswith("_bytes")]
    for name in (*processes, *(name for name in sorted(folders) if series[name]["last"] >= LEAST_BYTES)):
        row = series[name]
        lines.append(
            (
                name.removesuffix("_bytes").removesuffix(" memory"),
                f"{row['middle'] / 2**20:,.1f} MiB",
                f"{row['last'] / 2**20:,.1f} MiB",
                f"{row['per_epoch'] / 2**10:+,.1f} ± {row['error'] / 2**10:,.1f} KiB",
            )
        )
    for what in ("files", "threads"):
        values = [row for name, row in series.items() if name.endswith(f" {what}")]
        half, end, first = (f"{sum(row[at] for row in values):,.0f}" for at in ("middle", "last", "first"))
        lines.append((f"{what} of all processes ({first} after the first epoch)", half, end, "·"))
    return lines


def slow_lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Each case: what its query phase or epoch took and may take, whom its pay is compared with, what came of it."""
    lines: list[tuple[str, ...]] = [
        ("what happens", "took at most", "allowed", "pays as", "difference", "who has no answer"),
        ("---", "---:", "---:", "---", "---:", "---"),
    ]
    for name, case in found["cases"].items():
        missing = sorted({f"{who} ({why.partition(':')[0]})" for epoch in case["not_ok"] for who, why in epoch.items()})
        differences = case.get("differences_rao", {})
        lines.append(
            (
                name,
                f"{case['took_s']:.0f} s",
                f"{case['bound_s']:.0f} s",
                case.get("like", "·"),
                "·"
                if "like" not in case
                else ", ".join(f"{who} {rao:+}" for who, rao in differences.items()) or "0 RAO",
                ", ".join(missing) or "nobody",
            )
        )
    return lines


def main() -> None:
    """Write the page."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

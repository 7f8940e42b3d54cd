"""Writes the tables of docs/throughput.md from the records of `taoray bench`, and of the scripts for a GPU.

Invariants: nothing is measured here; the same records give the same tables; what no record holds is a blank.

Run: `python -m benchmarks.draw_throughput`, after `taoray bench WORK --out benchmarks/results`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cluster.bench.table import BLANK, columns_of, parts_of, title_of
from models.bench.report import Report, read_report
from models.bench.words import quantity

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "throughput.md"
WORKS = ("score", "train", "value", "epoch", "ledger")
INTO = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def rendered(page: str) -> str:
    """The page with its tables as the records have them now."""
    return INTO.sub(lambda place: place[1] + table(place[2]) + "\n" + place[3], page)


def table(name: str) -> str:
    """The table of that name: `ceilings`, or a work."""
    if name == "ceilings":
        return ceiling_table([report for work in WORKS for report in reports(work)])
    return work_table(reports(name))


def reports(work: str) -> list[Report]:
    """The records of a work, one a device, those of processors first."""
    found = [read_report(path) for path in sorted(RESULTS.glob(f"bench_{work}_*.json"))]
    return sorted(found, key=lambda report: (bool(report.machine.driver), report.machine.device))


def ceiling_table(found: Sequence[Report]) -> str:
    """What each device does at most, by type; of several records of one the first."""
    lines = ["| device | threads | type | matrix product | copy, read and written |", "|---|---|---|---|---|"]
    seen: set[tuple[str, str]] = set()
    for report in found:
        for own in report.ceilings:
            if (report.machine.device, own.dtype) in seen:
                continue
            seen.add((report.machine.device, own.dtype))
            rate, copied = quantity(own.operations_s, "FLOP/s"), quantity(own.bytes_s, "B/s")
            threads = BLANK if report.machine.driver else report.configuration.get("threads", BLANK)
            lines.append(f"| {report.machine.device} | {threads} | {own.dtype} | {rate} | {copied} |")
    if not any(report.machine.driver for report in found):
        lines.append(f"| NVIDIA GPU | {BLANK} | {BLANK} | {BLANK} | {BLANK} |")
    return "\n".join(lines)


def work_table(found: Sequence[Report]) -> str:
    """The table that the command prints, of each record; what all its lines share stands above it."""
    told: list[str] = []
    for report in found:
        for lines in parts_of(report.lines):
            columns = columns_of(lines)
            rows = [list(columns), ["---"] * len(columns), *map(list, zip(*columns.values(), strict=True))]
            told += [f"{title_of(report, lines)}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    if not any(report.machine.driver for report in found):
        told.append(f"On an NVIDIA GPU: {BLANK} (not measured yet).")
    return "\n".join(told)


if __name__ == "__main__":
    main()

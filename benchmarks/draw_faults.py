"""Write the tables of docs/faults.md from the records of chaos.py and partition.py.

Run: `python benchmarks/draw_faults.py`.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

PAGE = ROOT / "docs" / "faults.md"
RESULTS = ROOT / "benchmarks" / "results"
TABLES = ("chaos", "partition")


def rendered(page: str) -> str:
    """The page with the tables of today's records."""
    for name in TABLES:
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(begin)
        page = before + begin + "\n" + table(name) + "\n" + end + rest.partition(end)[2]
    return page


def table(name: str) -> str:
    """One table, from its record."""
    record = json.loads((RESULTS / f"{name}.json").read_text())
    lines = chaos_lines(record) if name == "chaos" else partition_lines(record["measured"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chaos_lines(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """What was killed, and what came of it."""
    found = record["measured"]
    return [
        (
            f"seed {record['configuration']['seed']}, {record['configuration']['nodes']} nodes",
            f"{found['seconds'] / 60:.0f} min",
        ),
        ("---", "---:"),
        *((f"kills of: {kind}", str(count)) for kind, count in found["kills_by_kind"].items()),
        ("**kills**", f"**{found['kills']}**"),
        ("epochs", str(found["epochs"])),
        ("final blocks", str(found["blocks"])),
        ("terms, each a keeper that took over", str(found["terms"])),
        ("drivers that ended with an error, and were launched again", str(found["drivers_that_gave_up"])),
        ("longest time without a new final block", f"{found['longest_stall_s']:.0f} s"),
        ("**final blocks lost**", f"**{found['blocks_lost']}**"),
        ("**blocks doubled**", f"**{found['blocks_doubled']}**"),
        ("**supply mismatches**", f"**{found['supply_mismatches']}**"),
        ("**queries unaccounted for**", f"**{found['queries_unaccounted_for']}**"),
        ("epochs without a record", str(found["epochs_without_record"])),
    ]


def partition_lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The two cuts, side by side."""
    cuts = (found["ledger_cut"], found["validator_cut"])
    second = found["ledger_cut"]["second_keeper"]
    share = [f"{cut['stake_share']:.0%}" for cut in cuts]
    return [
        ("cut off", "the ledger's node", "a node with validators"),
        ("---", "---:", "---:"),
        ("its share of the stake", *share),
        ("until the next final block", *(f"{cut['first_final_block_s']:.0f} s" for cut in cuts)),
        ("cut off for", *(f"{cut['cut_s']:.0f} s" for cut in cuts)),
        ("final blocks meanwhile", *(str(cut["blocks_while_cut"]) for cut in cuts)),
        ("blocks built by a second keeper there", str(int(second["built"])), "·"),
        ("which became final", str(int(second["final"])), "·"),
        ("blocks lost, in all", str(found["blocks_lost"]), ""),
        ("blocks doubled, in all", str(found["blocks_doubled"]), ""),
        ("supply mismatches, in all", str(found["supply_mismatches"]), ""),
    ]


def main() -> None:
    """Write the page."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

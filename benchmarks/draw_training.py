"""Draws the figure of docs/training.md from the recorded runs, and writes its tables.

Invariants: nothing is measured here; the same record gives the same tables and, but for the drawing library's version,
the same figure.

Run: `python benchmarks/draw_training.py`, after `training.py`.
"""

import json
import re
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

RECORD = ROOT / "benchmarks" / "results" / "training.json"
PAGE = ROOT / "docs" / "training.md"
FIGURE = ROOT / "docs" / "figures" / "training.png"
WAYS = {
    "one machine": ("one machine", "#8a8d91"),
    "synchronous": ("synchronous: one gradient a step", "#173f5f"),
    "dense DiLoCo": ("dense DiLoCo: rate 0.7, Nesterov 0.9", "#c8b560"),
    "dense mean": ("dense: the mean of all members", "#e07b39"),
    "compressed": ("compressed rounds", "#1b6ca8"),
}
Line = dict[str, Any]


def load() -> dict[str, Any]:
    """What the record measured."""
    measured: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["measured"]
    return measured


def way_table(measured: dict[str, Any]) -> str:
    """Bits per byte of each way by members, mean over seeds and each seed, and what one member sent."""
    lines = ["| members | way | bits per byte | of each seed | sent by a member |", "|---|---|---|---|---|"]
    runs = [line for line in measured["runs"] if line["table"] == "ways"]
    for members in sorted({line["members"] for line in runs}):
        for way, (said, _) in WAYS.items():
            found = [line for line in runs if (line["name"], line["members"]) == (way, members)]
            if found:
                each = ", ".join(f"{line['bits_per_byte']:.3f}" for line in found)
                mean = fmean(line["bits_per_byte"] for line in found)
                lines.append(f"| {members} | {said} | {mean:.3f} | {each} | {size(found[0]['sent_bytes'])} |")
    return "\n".join(lines)


def ratio_table(measured: dict[str, Any]) -> str:
    """Compressed rounds against the other ways."""
    lines = ["| members | against | bits per byte, ratio | of the seeds | sent, times less |", "|---|---|---|---|---|"]
    for row in measured["summary"]["ratios"]:
        saved = f"{row['saved']:.0f}" if "saved" in row else "—"
        spread = f"{row['least']:.3f} to {row['most']:.3f}"
        lines.append(f"| {row['members']} | {row['against']} | {row['ratio']:.3f} | {spread} | {saved} |")
    return "\n".join(lines)


def tried_table(measured: dict[str, Any]) -> str:
    """What was tried, by members."""
    runs = [line for line in measured["runs"] if line["table"] == "tried"]
    members = sorted({line["members"] for line in runs})
    lines = ["| what | " + " | ".join(f"{many} members" for many in members) + " |", "|---|" + "---|" * len(members)]
    for name in dict.fromkeys(line["name"] for line in runs):
        found = {line["members"]: line["bits_per_byte"] for line in runs if line["name"] == name}
        cells = [f"{found[many]:.3f}" if many in found else "—" for many in members]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cheat_table(measured: dict[str, Any]) -> str:
    """Three of eight cheating against the five honest alone, and each cheat's share of all sums at the end."""
    lines = [
        "| three of eight | the end, against five honest alone | under a plain mean | each cheat's share of the sums |",
        "|---|---|---|---|",
    ]
    runs = {line["name"]: line for line in measured["runs"] if line["table"] == "cheats"}
    for row in measured["summary"]["cheats"]:
        mean = "—" if row["mean_ratio"] is None else f"{row['mean_ratio']:.3g}"
        if row["diverged"] is not None:
            mean = f"diverged in round {row['diverged']}"
        lines.append(f"| {row['name']} | {row['ratio']:.4f} | {mean} | {shares(runs[row['name']])} |")
    return "\n".join(lines)


def shares(line: Line) -> str:
    """Each cheat, its part of all sums after the last round, and how it was met."""
    sums = line["history"][-1]["sums"]
    total = sum(sums.values()) or 1
    cells = []
    for uid, cheat in line["cheats"].items():
        codes = sorted({round_["refused"][uid] for round_ in line["history"] if uid in round_["refused"]})
        met = f" ({', '.join(f'`{code}`' for code in codes)})" if codes else ""
        cells.append(f"{cheat}: {100 * sums.get(uid, 0) / total:.2f} %{met}")
    return "; ".join(cells)


def size(sent_bytes: int) -> str:
    """Bytes for a person."""
    return "—" if not sent_bytes else f"{sent_bytes / 1e6:,.1f} MB"


def tables(measured: dict[str, Any]) -> dict[str, str]:
    """Every table of the page, by the name in its marks."""
    return {
        "ways": way_table(measured),
        "ratios": ratio_table(measured),
        "tried": tried_table(measured),
        "cheats": cheat_table(measured),
    }


def write_tables(measured: dict[str, Any]) -> None:
    """Put the tables between their marks."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables(measured).items():
        marked = f"<!-- table {name} -->\n\n{table}\n\n<!-- end -->"
        page, count = re.subn(
            rf"<!-- table {name} -->.*?<!-- end -->", lambda _, marked=marked: marked, page, flags=re.S
        )
        if count != 1:
            raise SystemExit(f"{PAGE} has no place for the table {name}")
    PAGE.write_text(page, encoding="utf-8")


def draw(measured: dict[str, Any]) -> None:
    """Bits per byte over the bytes that all members read, for four and eight members; mean over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    runs = [line for line in measured["runs"] if line["table"] == "ways"]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, members in zip(panels, (4, 8), strict=True):
        for way, (said, colour) in WAYS.items():
            found = [line for line in runs if line["name"] == way and line["members"] in (1, members)]
            if found:
                shortest = min(len(line["curve"]) for line in found)
                points = [[line["curve"][place] for line in found] for place in range(1, shortest)]
                tokens = [fmean(point[0] for point in each) / 1e6 for each in points]
                bits = [fmean(point[1] for point in each) for each in points]
                axes.plot(tokens, bits, color=colour, label=said, linewidth=1.8)
        axes.set_title(f"{members} members", loc="left", fontsize=10.5)
        axes.set_xlabel("million bytes read by all members")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("bits per byte of held-out text")
    panels[1].legend(frameon=False, fontsize=9)
    figure.savefig(FIGURE, dpi=130)


def main() -> None:
    """Write the tables and the figure."""
    measured = load()
    write_tables(measured)
    draw(measured)


if __name__ == "__main__":
    main()

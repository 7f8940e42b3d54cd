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

TRIED = ROOT / "benchmarks" / "results" / "training_tried.json"
CHUNK = 4096
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


def tried_table(tried: list[Line]) -> str:
    """What was tried, and how many times the bits per byte of synchronous training on the same text it ends with."""
    lines = [
        "| million bytes | members | pages a step | steps a round | keep | rate | momentum | floor | error decay "
        "| bits per byte | against synchronous |",
        "|" + "---|" * 11,
    ]
    same = ("tokens", "batch", "members")
    for row in (row for row in tried if row["outer"]):
        found = [
            other["bits_per_byte"]
            for other in tried
            if not other["outer"] and [other[key] for key in same] == [row[key] for key in same]
        ]
        outer, ratio = row["outer"], f"{row['bits_per_byte'] / min(found):.3f}" if found else "—"
        dense = outer["keep"] == CHUNK
        rest = "— | —" if dense else f"{outer['senders_floor']:g} | {outer['error_decay']:g}"
        lines.append(
            f"| {row['tokens'] / 1e6:.1f} | {row['members']} | {row['batch']} | {row['inner_steps']} | "
            f"{'all' if dense else outer['keep']} | {outer['rate']:g} | {outer['momentum']:g} | {rest} | "
            f"{row['bits_per_byte']:.3f} | {ratio} |"
        )
    return "\n".join(lines)


def cheat_table(measured: dict[str, Any]) -> str:
    """Three of eight cheating against the five honest alone: the end, and what each cheat was given."""
    lines = [
        "| three of eight | seeds | the end | under a plain mean | accepted in, earned later, share, refused as |",
        "|" + "---|" * 5,
    ]
    rows = measured["summary"]["cheats"]
    runs = [line for line in measured["runs"] if line["table"] == "cheats" and line["way"] == "network"]
    for name in dict.fromkeys(row["name"] for row in rows):
        found = [row for row in rows if row["name"] == name]
        mean = next((plain for row in found if (plain := said_of_mean(row))), "—")
        ends = ", ".join(f"{row['ratio']:.3f}" for row in found)
        fates = "; ".join(
            fate(uid, cheat, found, [line for line in runs if line["name"] == name])
            for uid, cheat in next(line for line in runs if line["name"] == name)["cheats"].items()
        )
        lines.append(f"| {name} | {len(found)} | {ends} | {mean} | {fates} |")
    return "\n".join(lines)


def said_of_mean(row: dict[str, Any]) -> str:
    """The end under a plain mean; nothing where it was not played."""
    if row["diverged"] is not None:
        return f"no number from round {row['diverged'] + 1} on"
    return "" if row["mean_ratio"] is None else f"{row['mean_ratio']:.3g}"


def fate(uid: str, cheat: str, rows: list[dict[str, Any]], lines: list[Line]) -> str:
    """A cheat over all seeds: where it was accepted, what it earned later, its largest share, its refusals."""
    codes = sorted({round_["refused"][uid] for line in lines for round_ in line["history"] if uid in round_["refused"]})
    rounds = sorted({number for row in rows for number in row["taken"][uid]})
    taken = f"rounds {', '.join(map(str, rounds))} of {rows[0]['rounds']}" if rounds else "never"
    most = max(row["share"][uid] for row in rows)
    met = f", {', '.join(f'`{code}`' for code in codes)}" if codes else ""
    later = max(row["earned"][uid] for row in rows) / 1e9
    return f"**{cheat}**: {taken}, {later:.3g}, {100 * most:.1f} %{met}"


def size(sent_bytes: int) -> str:
    """Bytes for a person."""
    return "—" if not sent_bytes else f"{sent_bytes / 1e6:,.1f} MB"


def tables(measured: dict[str, Any]) -> dict[str, str]:
    """Every table of the page, by the name in its marks."""
    return {
        "ways": way_table(measured),
        "ratios": ratio_table(measured),
        "tried": tried_table(json.loads(TRIED.read_text(encoding="utf-8"))["rows"]),
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

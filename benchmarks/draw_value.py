"""Draws the figures of docs/value.md from recorded runs, and writes its tables.

Invariants: nothing is measured here; the same records give the same tables and, but for the drawing library's version,
the same figures.

Run: `python benchmarks/draw_value.py`, after `attacks.py`, `attacks_measures.py` and `remote_value.py`.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "value.md"
FIGURES = ROOT / "docs" / "figures"
MEASURES = {
    "new_bits": "new bits (paid)",
    "share": "share of mixture",
    "leave_one_out": "leave one out",
    "shapley": "Shapley",
    "accuracy": "1 / bits per byte",
}
COLOURS = ("#1b6ca8", "#e07b39", "#8a8d91", "#6a4c93", "#c8b560")
AIMS = {True: "met", False: "**missed**", None: "—"}


def load(name: str) -> dict[str, Any]:
    """What a benchmark's record measured."""
    measured: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["measured"]
    return measured


def percent(part: float) -> str:
    """Two digits after the point, and three where that is little."""
    return f"{100 * part:.3f} %" if abs(part) < 0.01 else f"{100 * part:.1f} %"


def attack_table(measured: dict[str, Any], kinds: tuple[str, ...]) -> str:
    """The scenarios of some kinds, as a table."""
    lines = [
        "| scenario | what happens | share of pay | without it | truly adds | victim moved most | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in measured["scenarios"]:
        if line["kind"] in kinds:
            name, (was, now) = max(line["victims"].items(), key=lambda item: abs(item[1][1] - item[1][0]))
            lines.append(
                f"| `{line['name']}` | {line['what']} | {percent(line['share'])} | {percent(line['share_without'])} | "
                f"{line['true_increment']['mean']:+.4f} | {name} {percent(was)} → {percent(now)} | "
                f"{AIMS[line['holds']]} |"
            )
    return "\n".join(lines)


def remote_table(measured: dict[str, Any]) -> str:
    """Remote peers, and who copies or crowds them."""
    lines = [
        "| scenario | what happens | share of pay | without it | who moved most | aim |",
        "|---|---|---|---|---|---|",
    ]
    for line in measured["scenarios"]:
        name, (was, now) = max(line["others"].items(), key=lambda item: abs(item[1][1] - item[1][0]))
        lines.append(
            f"| `{line['name']}` | {line['what']} | {percent(line['share'])} | {percent(line['share_without'])} | "
            f"{name} {percent(was)} → {percent(now)} | {AIMS[line['holds']]} |"
        )
    return "\n".join(lines)


def newcomer_table(measured: dict[str, Any]) -> str:
    """Honest newcomers: part of the credit against part of the new bits."""
    lines = [
        "| scenario | what happens | share of pay | truly adds | of credit | of new bits | paid / worth | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in measured["scenarios"]:
        if line["kind"] == "honest":
            found = line["newcomers"]
            paid, worth = sum(found["part_of_credit"]), sum(found["part_of_new_bits"])
            lines.append(
                f"| `{line['name']}` | {line['what']} | {percent(line['share'])} | "
                f"{line['true_increment']['mean']:+.4f} | {percent(paid)} | {percent(worth)} | "
                f"{found['paid_over_worth']:.2f} | {AIMS[line['holds']]} |"
            )
    return "\n".join(lines)


def measure_table(measured: dict[str, Any]) -> str:
    """What each measure would give the actors."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " |", "|---|" + "---|" * len(MEASURES)]
    for line in measured["attacks"]:
        found = [line["measures"][measure] for measure in MEASURES]
        cells = [percent(each["actors"]) if each else "—" for each in found]
        lines.append(f"| `{line['name']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Every table of the page, by the name in its marks."""
    attacks = load("attacks")
    return {
        "copies": attack_table(attacks, ("copy",)),
        "plots": attack_table(attacks, ("plot",)),
        "newcomers": newcomer_table(attacks),
        "limits": attack_table(attacks, ("limit",)),
        "measures": measure_table(load("attacks_measures")),
        "remote": remote_table(load("remote_value")),
    }


def write_tables() -> None:
    """Put the tables between their marks, `<!-- table NAME -->` and `<!-- end -->`."""
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables().items():
        before, _, rest = page.partition(f"<!-- table {name} -->\n")
        page = f"{before}<!-- table {name} -->\n\n{table}\n\n<!-- end -->" + rest.partition("<!-- end -->")[2]
    PAGE.write_text(page, encoding="utf-8")


def draw_measures(attacks: list[dict[str, Any]]) -> None:
    """Bars: the actors' part of the pay, by attack and measure."""
    figure, axes = plt.subplots(figsize=(9, 4))
    width = 0.8 / len(MEASURES)
    for number, (measure, label) in enumerate(MEASURES.items()):
        places = [place + (number - 2) * width for place in range(len(attacks))]
        parts = [100 * (line["measures"][measure] or {"actors": 0.0})["actors"] for line in attacks]
        axes.bar(places, parts, width, label=label, color=COLOURS[number])
    axes.set_xticks(range(len(attacks)), [line["name"].replace("_", " ") for line in attacks], fontsize=9)
    axes.set_ylabel("part of the pay, %")
    axes.axvline(2.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_title("What copies (left) and honest newcomers (right) would be paid", fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=9)
    save(figure, "measures")


def draw_network(network: dict[str, Any]) -> None:
    """Lines: bits per byte of peers and collective, and pay, by epoch."""
    epochs = range(1, 1 + len(network["epochs"]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for name, bits in network["bits_per_byte"].items():
        left.plot(epochs, bits, linewidth=1, label=name)
        right.plot(epochs, [100 * epoch["pay"][name] for epoch in network["epochs"]], linewidth=1.4, label=name)
    together = [epoch["collective_bits_per_byte"] for epoch in network["epochs"]]
    left.plot(epochs, together, color="black", linewidth=2, label="collective")
    left.set_ylabel("bits per byte")
    right.set_ylabel("part of the pay, %")
    for axes in (left, right):
        axes.set_xlabel("epoch")
    left.legend(frameon=False, fontsize=8, ncols=2)
    save(figure, "network")


def save(figure: Figure, name: str) -> None:
    """Write a figure as SVG."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw, and write the tables."""
    matplotlib.rcParams["svg.hashsalt"] = "taoray"
    write_tables()
    draw_measures(load("attacks_measures")["attacks"])
    draw_network(load("attacks")["network"])


if __name__ == "__main__":
    main()

"""Writes the tables of docs/scale.md and its figure from the record of `benchmarks/scale.py`.

Invariants: nothing is measured here; the same record gives the same tables.

Run: `python -m benchmarks.draw_scale`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "results" / "scale.json"
PAGE = ROOT / "docs" / "scale.md"
FIGURE = ROOT / "docs" / "figures" / "scale.png"
INTO = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)

KEEPER = ("open: queue", "open: seal", "commit: queue", "commit: seal", "close: queue", "close: seal")
REPLICA = ("open: replica", "commit: replica", "close: replica")
DRIVER = ("view", "plan", "query: all this process did", "findings", "record")
VOTES = ("open: votes", "commit: votes", "close: votes")
SHOWN = {
    "queue of publications": ("open: queue",),
    "open block, keeper": ("open: seal",),
    "open block, replica": ("open: replica",),
    "view of the ledger": ("view",),
    "plan of hosts": ("plan",),
    "dispatcher": ("query: dispatcher",),
    "books of one validator": ("value: books",),
    "commit block, keeper": ("commit: queue", "commit: seal"),
    "close block, keeper": ("close: queue", "close: seal"),
    "close block, replica": ("close: replica",),
    "of it consensus": ("close: consensus alone",),
    "of it the metagraph": ("close: metagraph alone",),
    "votes for finality, keeper": VOTES,
    "findings, to the driver": ("findings",),
    "record of the epoch": ("record",),
}
COLOURS = ("#20639b", "#2a7a52", "#b5485d", "#7b5ea7", "#96610f", "#173f5f", "#f6a21e", "#8a949e")
Run = Mapping[str, Any]


def main() -> None:
    """Write the tables into the page, and the figure."""
    measured = read_record()
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), measured), encoding="utf-8")
    draw(measured["runs"], FIGURE)


def read_record() -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))["measured"]
    return found


def rendered(page: str, measured: Mapping[str, Any]) -> str:
    """The page with its tables as the record has them now."""
    runs = sorted(measured["runs"], key=lambda run: (run["size"]["peers"], run["size"]["validators"]))
    tables: dict[str, Callable[[], str]] = {
        "epochs": lambda: epochs_table(runs),
        "ledger": lambda: ledger_table(runs),
        "steps": lambda: steps_table(runs),
        "growth_peers": lambda: growth_table(measured["exponents"]["peers"]),
        "growth_validators": lambda: growth_table(measured["exponents"]["validators"]),
        "pay": lambda: pay_table(runs),
    }
    return INTO.sub(lambda place: place[1] + tables[place[2]]() + "\n" + place[3], page)


def epochs_table(runs: Sequence[Run]) -> str:
    """What an epoch takes, and its query phase: of the last epoch; the quarantine's queue of the worst."""
    head = ("peers", "validators", "hosts", "epoch", "query", "with bad peers", "calls", "hosts idle", "to be tried")
    head = (*head, "driver busy", "longest wait for it", "dispatcher a call")
    rows = []
    for run in runs:
        query, size = run["epochs"][-1]["query"], run["size"]
        rest = [*KEEPER, *REPLICA, *VOTES, "view", "plan", "value: books", "findings", "record"]
        rows.append(
            (
                f"{size['peers']:,}",
                f"{size['validators']:,}",
                f"{size['hosts']:,}",
                seconds(query["seconds"] + cpu_s(run, rest)),
                seconds(query["seconds"]),
                seconds(run["epochs"][0]["query"]["seconds"]),
                f"{query['calls']:,}",
                f"{query['idle_share'][1]:.0%}",
                f"{max(epoch['query']['quarantine_queue'] for epoch in run['epochs']):,}",
                f"{query['driver_share']:.1%}",
                seconds(max(epoch["query"]["longest_wait_for_driver_s"] for epoch in run["epochs"])),
                f"{query['dispatcher_us_a_call']:.0f} µs",
            )
        )
    return table(head, rows)


def ledger_table(runs: Sequence[Run]) -> str:
    """What an epoch weighs: of the last epoch."""
    names = ("open block", "commit block", "close block", "view", "findings", "record")
    head = ("peers", "validators", *(f"{name}" for name in names), "longest commit", "memory")
    rows = [
        (
            f"{run['size']['peers']:,}",
            f"{run['size']['validators']:,}",
            *(size_of(run["size_bytes"][name]) for name in names),
            seconds(run["longest_commit_s"]),
            size_of(run["memory_bytes"]),
        )
        for run in runs
    ]
    return table(head, rows)


def steps_table(runs: Sequence[Run]) -> str:
    """Processor seconds by step, a column a size."""
    head = ("processor time", *(f"{run['size']['peers']:,} × {run['size']['validators']}" for run in runs))
    rows = [(name, *(seconds(cpu_s(run, steps)) for run in runs)) for name, steps in SHOWN.items()]
    return table(head, rows)


def growth_table(exponents: Mapping[str, Mapping[str, float]]) -> str:
    """Exponents by step, a column a pair of sizes."""
    pairs = list(dict.fromkeys(pair for own in exponents.values() for pair in own))
    rows = []
    for name, own in exponents.items():
        if name != "query: all this process did":
            rows.append((name, *(f"{own[pair]:.2f}" if pair in own else "—" for pair in pairs)))
    return table(("step", *pairs), rows)


def pay_table(runs: Sequence[Run]) -> str:
    """Who answered and who was paid in the first epoch, of each number of peers that has all kinds."""
    shown = [run for run in runs if len(run["epochs"][0]["answered"]) == 6]
    kinds = list(dict.fromkeys(kind for run in shown for kind in run["epochs"][0]["answered"]))
    columns = [f"{run['size']['peers']:,} × {run['size']['validators']}" for run in shown]
    rows = [
        (
            kind,
            *(
                f"{run['epochs'][0]['answered'][kind]:.0%}, {run['epochs'][0]['pay'].get(kind, 0.0):.3f}"
                for run in shown
            ),
        )
        for kind in kinds
    ]
    return table(("peers that are", *columns), rows)


def cpu_s(run: Run, steps: Sequence[str]) -> float:
    """Processor seconds of some steps together."""
    return sum(run["cpu_s"].get(step, 0.0) for step in steps)


def seconds(value: float) -> str:
    """Seconds with about three digits."""
    if value < 0.1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s"


def size_of(value: float) -> str:
    """Bytes with about three digits."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(runs: Sequence[Run], path: Path) -> None:
    """Processor time and bytes against peers and validators, each beside a straight line of slope 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.2), layout="constrained")
    (above, beside), (below, last) = figure.subplots(2, 2)
    _draw_growth(above, runs, "peers", "validators")
    _draw_growth(beside, runs, "validators", "peers")
    _draw_bytes(below, runs)
    _draw_epochs(last, runs)
    for axes in (above, beside, below, last):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e6e9", linewidth=0.8)
        axes.set_axisbelow(True)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def series(runs: Sequence[Run], axis: str, other: str) -> list[Run]:
    """The runs that differ in one size alone: those with the value of the other that most have."""
    values = [run["size"][other] for run in runs]
    common = max(set(values), key=values.count)
    return sorted((run for run in runs if run["size"][other] == common), key=lambda run: int(run["size"][axis]))


def _draw_growth(axes: "Axes", runs: Sequence[Run], axis: str, other: str) -> None:
    chosen = series(runs, axis, other)
    at = [run["size"][axis] for run in chosen]
    largest = sorted(SHOWN, key=lambda name: -cpu_s(chosen[-1], SHOWN[name]))[: len(COLOURS)]
    for name, colour in zip(largest, COLOURS, strict=True):
        axes.loglog(at, [cpu_s(run, SHOWN[name]) for run in chosen], "o-", color=colour, label=name, markersize=4)
    floor = cpu_s(chosen[0], SHOWN[largest[-1]]) / 2
    axes.loglog(at, [floor * value / at[0] for value in at], ":", color="#444444", label="slope 1")
    axes.set_xlabel(f"{axis}, with {chosen[0]['size'][other]:,} {other}")
    axes.set_ylabel("processor time of an epoch, s")
    _finish(axes, at)


def _draw_bytes(axes: "Axes", runs: Sequence[Run]) -> None:
    chosen = series(runs, "peers", "validators")
    at = [run["size"]["peers"] for run in chosen]
    names = [name for name in chosen[0]["size_bytes"] if name != "database"]
    for name, colour in zip(names, COLOURS, strict=False):
        axes.loglog(at, [run["size_bytes"][name] for run in chosen], "o-", color=colour, label=name, markersize=4)
    axes.set_xlabel(f"peers, with {chosen[0]['size']['validators']} validators")
    axes.set_ylabel("bytes of an epoch")
    _finish(axes, at)


def _finish(axes: "Axes", at: Sequence[int]) -> None:
    axes.set_xticks(at, [f"{value:,}" for value in at])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_epochs(axes: "Axes", runs: Sequence[Run]) -> None:
    ordered = sorted(runs, key=lambda run: (run["size"]["peers"], run["size"]["validators"]))
    names = [f"{run['size']['peers']:,} × {run['size']['validators']}" for run in ordered]
    first = [run["epochs"][0]["query"]["seconds"] for run in ordered]
    last = [run["epochs"][-1]["query"]["seconds"] for run in ordered]
    places = range(len(names))
    axes.barh([place + 0.2 for place in places], first, 0.38, color=COLOURS[2], label="first epoch, with bad peers")
    axes.barh([place - 0.2 for place in places], last, 0.38, color=COLOURS[0], label="last epoch, most have left")
    axes.set_yticks(list(places), names)
    axes.set_xlabel("query phase, s of the virtual clock (peers × validators)")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2)


if __name__ == "__main__":
    main()

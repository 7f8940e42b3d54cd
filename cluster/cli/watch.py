"""`taoray status --watch`: where a network stands, again each second, whether somebody drives it or not.

Invariants: nothing is written; what cannot be read for a moment is said, and read again.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

import taoray
from cluster.cli.output import print_json
from cluster.cli.tables import bits, epoch_line, plain_table, share, tao, total_seconds
from cluster.cli.view import standing_document, standing_lines, standing_tables
from cluster.home import Home
from cluster.observe.last import last_records
from cluster.observe.log import LogLine, read_log
from cluster.report import EpochRecord

EVERY_S = 1.0
EPOCHS = 8
NOTES = 5
LINES = 100
"""Of the log that are looked through for notes."""


class Seen(msgspec.Struct, frozen=True):
    """What one look found."""

    standing: Any
    lines: list[LogLine]
    records: list[EpochRecord]


def watch(folder: Path, json: bool) -> None:
    """Show a home until interrupted.

    Args:
        json: print one JSON document a line whenever something changed, in place of the screen.

    Raises ClusterError where the home holds no network.
    """
    taoray.status(folder)
    try:
        if json:
            for document in changes(looks(folder)):
                print_json(document)
        else:
            with Live(console=Console(), auto_refresh=False, screen=False, vertical_overflow="crop") as live:
                for seen in looks(folder):
                    live.update(screen(seen, time.time()), refresh=True)
    except KeyboardInterrupt:
        return


def looks(folder: Path, wait: Callable[[float], None] = time.sleep) -> Iterator[Seen | str]:
    """What is there now, and again each second; a sentence where it cannot be read."""
    home = Home(folder)
    while True:
        try:
            lines = list(read_log(home, LINES))
            yield Seen(taoray.status(folder), lines, last_records(home.epochs, EPOCHS))
        except (taoray.LedgerError, taoray.ClusterError, OSError, sqlite3.Error) as error:
            yield f"cannot be read: {error}"
        wait(EVERY_S)


def changes(seen: Iterator[Seen | str]) -> Iterator[dict[str, Any]]:
    """The documents of looks that differ from the one before."""
    before: bytes | None = None
    for look in seen:
        if isinstance(look, str):
            document: dict[str, Any] = {"error": look}
        else:
            last = look.lines[-1] if look.lines else None
            document = {
                **standing_document(look.standing),
                "doing": {"epoch": last.epoch, "step": last.step, "sentence": last.sentence, "since_s": last.time_s}
                if last
                else None,
            }
        told = msgspec.json.encode(document, enc_hook=str)
        if told != before:
            yield document
        before = told


def screen(seen: Seen | str, now_s: float) -> RenderableType:
    """What a person sees of a look."""
    if isinstance(seen, str):
        return Text(seen, style="red")
    parts: list[RenderableType] = [standing_lines(seen.standing)]
    doing = next((line for line in reversed(seen.lines) if line.level == "info"), None)
    if doing is not None and seen.standing.holder is not None:
        where = f"epoch {doing.epoch}: " if doing.epoch is not None else ""
        parts.append(Text(f"{where}{doing.sentence} ({max(0.0, now_s - doing.time_s):.0f} s)", style="bold"))
    notes = [line for line in seen.lines if line.level != "info"][-NOTES:]
    parts += [Text(line.text().splitlines()[0], style="yellow") for line in notes]
    if seen.records:
        parts += ["", epochs_table(seen.records), "", neurons_table(seen.records[-1])]
        parts.append(Text(epoch_line(seen.records[-1]).rstrip()))
    return Group(*parts, *standing_tables(seen.standing))


def epochs_table(records: list[EpochRecord]) -> RenderableType:
    """The last epochs, a line each."""
    table = plain_table("epochs", ["epoch"], ["collective", "best peer", "new bits", "answered", "minted τ", "seconds"])
    for record in records:
        asked = record.asked
        table.add_row(
            str(record.epoch),
            bits(record.collective_bits_per_byte),
            bits(record.best_peer_bits_per_byte),
            bits(record.new_bits, 4),
            f"{asked.answered}/{asked.asked}" if asked else "·",
            tao(record.minted_rao, 0).rstrip("."),
            f"{total_seconds(record.seconds):.1f}",
        )
    return table


def neurons_table(record: EpochRecord) -> RenderableType:
    """The neurons of the last epoch that earned most, or whose status is not ok."""
    table = plain_table(f"epoch {record.epoch}", ["name"], ["bits/B", "new bits", "incent.", "divid.", "status"])
    order = sorted(record.neurons, key=lambda neuron: (neuron.status == "ok", -neuron.emission_rao, neuron.uid))
    for neuron in order[:12]:
        table.add_row(
            escape(neuron.name),
            bits(neuron.bits_per_byte),
            bits(neuron.new_bits),
            share(neuron.incentive),
            share(neuron.dividends),
            neuron.status,
        )
    if len(order) > 12:
        table.caption = f"and {len(order) - 12:,} more"
    return table

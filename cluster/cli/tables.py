"""Tables for a person: an epoch's neurons, a run's epochs, the metagraph."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

import taoray
from cluster.report import EpochRecord, NeuronRecord
from ledger.units import RAO_PER_TAO


def tao(rao: int) -> str:
    """An amount for a person: TAO with four decimals, rounded down; exact figures are in the JSON."""
    return f"{rao // RAO_PER_TAO:,}.{rao % RAO_PER_TAO * 10_000 // RAO_PER_TAO:04d}"


def bits(value: float | None, digits: int = 3) -> str:
    """Bits per byte, or a dot where nothing was measured."""
    return "·" if value is None else f"{value:.{digits}f}"


def share(value: float) -> str:
    """A share as a percentage; a dot for none at all."""
    return f"{value:.1%}" if value else "·"


def plain_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """A table whose first columns are text and whose others are numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def neuron_table(record: EpochRecord) -> Table:
    """The neurons at the close of an epoch."""
    table = plain_table(
        f"epoch {record.epoch}",
        ["uid", "name", "kind"],
        ["bits/byte", "new bits ± se", "account", "share", "incentive", "dividends", "emission τ", "stake τ", "status"],
    )
    for neuron in record.neurons:
        table.add_row(*_neuron_cells(neuron))
    return table


def _neuron_cells(neuron: NeuronRecord) -> tuple[str, ...]:
    new = "·" if neuron.new_bits is None else f"{neuron.new_bits:.4f} ± {neuron.new_bits_se or 0:.4f}"
    return (
        str(neuron.uid),
        neuron.name,
        neuron.kind,
        bits(neuron.bits_per_byte),
        new,
        bits(neuron.account_bits, 4),
        bits(neuron.share_bits, 4),
        share(neuron.incentive),
        share(neuron.dividends),
        tao(neuron.emission_rao),
        tao(neuron.stake_rao),
        neuron.status,
    )


def epoch_line(record: EpochRecord) -> str:
    """An epoch in one line."""
    seconds = record.seconds
    paid = "no vote carried weight: emission went to stake" if record.to_stake else f"minted {tao(record.minted_rao)} τ"
    return (
        f"collective {bits(record.collective_bits_per_byte)} bits/byte"
        f" · best peer {bits(record.best_peer_bits_per_byte)}"
        f" · baseline {bits(record.baseline_bits_per_byte)}"
        f" · new {bits(record.new_bits, 4)} · {paid}"
        f" · block {record.height} {record.block_hash[:12]} {'final' if record.final else 'not final'}"
        f" · query {seconds.query:.1f} value {seconds.value:.1f} train {seconds.train:.1f}"
        f" close {seconds.close:.1f} s\n"
    )


def summary_table(report: "taoray.RunReport") -> Table:
    """A run's epochs, and where the ledger stands."""
    table = plain_table(
        f"{report.network} · block {report.height} · issuance {tao(report.issuance_rao)} τ · {report.home}",
        ["epoch"],
        ["collective", "best peer", "baseline", "new bits", "minted τ", "to", "seconds"],
    )
    for record in report.epochs:
        seconds = record.seconds
        table.add_row(
            str(record.epoch),
            bits(record.collective_bits_per_byte),
            bits(record.best_peer_bits_per_byte),
            bits(record.baseline_bits_per_byte),
            bits(record.new_bits, 4),
            tao(record.minted_rao),
            "stake" if record.to_stake else "votes",
            f"{seconds.query + seconds.value + seconds.train + seconds.close:.1f}",
        )
    return table


def rows_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Any rows with equal keys."""
    keys = list(rows[0]) if rows else []
    table = plain_table(title, keys, [])
    for row in rows:
        table.add_row(*("·" if row[key] is None else str(row[key]) for key in keys))
    return table

"""Tables for a person: an epoch's neurons, a run's epochs, the metagraph."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

import taoray
from cluster.place.record import PlacementRecord
from cluster.report import EpochRecord, NeuronRecord, RoundRecord, Seconds
from ledger.epoch.fixed import ONE_Q31
from ledger.units import RAO_PER_TAO


def tao(rao: int, digits: int = 4) -> str:
    """An amount for a person: TAO, rounded down; exact figures are in the JSON."""
    return f"{rao // RAO_PER_TAO:,}.{rao % RAO_PER_TAO:09d}"[: digits - 9]


def bits(value: float | None, digits: int = 3) -> str:
    """Bits per byte, or a dot where nothing was measured."""
    return "·" if value is None else f"{value:.{digits}f}"


def share(value: float) -> str:
    """A share as a percentage; a dot for none at all."""
    return f"{value:.1%}" if value else "·"


def plain_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """A table whose first columns are text and whose others are numbers."""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def neuron_table(record: EpochRecord) -> Table:
    """The neurons at the close of an epoch, in 80 columns."""
    table = plain_table(
        f"epoch {record.epoch}",
        ["name"],
        ["bits/B", "new bits ± se", "account", "share", "incent.", "divid.", "pay τ", "stake τ", "status"],
    )
    for neuron in record.neurons:
        new = "·" if neuron.new_bits is None else f"{neuron.new_bits:.3f} ± {neuron.new_bits_se or 0:.3f}"
        table.add_row(
            neuron.name,
            bits(neuron.bits_per_byte),
            new,
            bits(neuron.account_bits),
            bits(neuron.share_bits),
            share(neuron.incentive),
            share(neuron.dividends),
            tao(neuron.emission_rao, 2),
            tao(neuron.stake_rao, 0).rstrip("."),
            neuron.status,
        )
    members = {member.name for each in record.rounds for member in each.members}
    table.caption = reasons(neuron for neuron in record.neurons if neuron.name not in members)
    return table


def reasons(neurons: Iterable[NeuronRecord]) -> str | None:
    """Why a status is not ok, and who predicted what nobody else did, a line each; None where all is ordinary."""
    lines = [f"{neuron.name} is {neuron.status}: {neuron.reason}" for neuron in neurons if neuron.reason]
    lines += [f"{neuron.name} looked up {neuron.looked_up} windows" for neuron in neurons if neuron.looked_up]
    return escape("\n".join(lines)) or None


def round_table(round_: RoundRecord) -> Table:
    """A cohort's round, a row a member, in 80 columns."""
    table = plain_table(
        f"cohort {escape(round_.cohort)}, "
        + (f"parameters {round_.parameters[:8]}" if round_.agreed else "no agreement: the round is taken again"),
        ["member"],
        ["value ± se, bits/B", "applied", "sum", "sent kB"],
    )
    table.add_column("", no_wrap=True)
    for member in round_.members:
        table.add_row(
            escape(member.name),
            "·" if member.bits is None else f"{member.bits:z.5f} ± {member.bits_se or 0:.5f}",
            bits(member.applied_bits, 5),
            bits(member.sum_bits or None, 5),
            "·" if member.sent_bytes is None else f"{member.sent_bytes / 1e3:,.1f}",
            escape(member.code) or "taken",
        )
    return table


def round_line(round_: RoundRecord) -> str:
    """A cohort's round: why updates are not part of the step, a line each, and three lines of figures."""
    why = {member.code: member.sentence for member in round_.refused}
    reasons = "".join(f"{code}: {escape(sentence)}\n" for code, sentence in why.items())
    sent = "nothing sent"
    if round_.sent_bytes:
        less, whole = round_.dense_bytes / round_.sent_bytes, round_.dense_bytes / 1e6
        sent = f"{round_.sent_bytes / 1e6:.3f} MB sent, {less:.0f} times less than the {whole:.2f} MB of whole updates"
    return (
        f"{reasons}{len(round_.taken)} of {len(round_.members)} updates taken; "
        f"held out {bits(round_.bits_per_byte)} bits/byte, training {bits(round_.loss_bits_per_byte)}\n"
        f"the step of all saves {bits(round_.measured_bits, 5)} bits/byte, by their values "
        f"{bits(round_.path_bits, 5)}; {round_.tokens / 1e6:.2f} MB read\n{sent}\n"
    )


def epoch_line(record: EpochRecord) -> str:
    """An epoch in two lines."""
    seconds = record.seconds
    paid = "to stake, as no vote carried weight" if record.to_stake else "to votes"
    return (
        f"collective {bits(record.collective_bits_per_byte)} bits/byte, "
        f"best peer {bits(record.best_peer_bits_per_byte)}, baseline {bits(record.baseline_bits_per_byte)}; "
        f"new {bits(record.new_bits)}\n"
        f"minted {tao(record.minted_rao, 0).rstrip('.')} τ {paid}; "
        f"block {record.height} {record.block_hash[:8]} {'final' if record.final else 'not final'}; "
        f"{total_seconds(seconds):.1f} s (query {seconds.query:.1f}, train {seconds.train:.1f})\n"
    )


def total_seconds(seconds: Seconds) -> float:
    """How long an epoch took."""
    return seconds.query + seconds.value + seconds.train + seconds.close


def summary_table(report: "taoray.RunReport") -> Table:
    """A run's epochs, and where the ledger stands."""
    table = plain_table(
        f"network {report.network}, block {report.height}, issuance {tao(report.issuance_rao)} τ",
        ["epoch"],
        ["collective", "best peer", "baseline", "new bits", "minted τ", "to", "seconds"],
    )
    for record in report.epochs:
        table.add_row(
            str(record.epoch),
            bits(record.collective_bits_per_byte),
            bits(record.best_peer_bits_per_byte),
            bits(record.baseline_bits_per_byte),
            bits(record.new_bits, 4),
            tao(record.minted_rao, 0).rstrip("."),
            "stake" if record.to_stake else "votes",
            f"{total_seconds(record.seconds):.1f}",
        )
    return table


def metagraph_table(rows: Sequence[dict[str, Any]], measured: Mapping[int, EpochRecord]) -> Table:
    """What a person looks for in the ledger's metagraph, with what was measured in that epoch beside it; the JSON and
    the Parquet files have all that the ledger has.
    """
    record = measured.get(rows[0]["epoch"]) if rows else None
    found = {neuron.hotkey: neuron for neuron in record.neurons} if record else {}
    table = plain_table(
        f"epoch {rows[0]['epoch']}, block {rows[0]['height']}" if rows else "no epoch is closed yet",
        ["uid", "name", "hotkey"],
        ["stake τ", "incent.", "divid.", "pay τ", "trust", "bits/B", "status"],
    )
    for row in rows:
        neuron = found.get(row["hotkey"])
        table.add_row(
            str(row["uid"]),
            row["name"],
            row["hotkey"][:12] + "…",
            tao(row["stake_rao"], 2),
            share(row["incentive_q31"] / ONE_Q31),
            share(row["dividends_q31"] / ONE_Q31),
            tao(row["emission_rao"], 2),
            share(row["validator_trust_q31"] / ONE_Q31),
            bits(neuron.bits_per_byte if neuron else None),
            neuron.status if neuron else "·",
        )
    cohorts = [
        f"{row['name']} in cohort {row['cohort'][:8]}: sum {row['update_sum_nano'] / 10**9:.5f}, update "
        + ("taken" if row["update_accepted"] else "not taken")
        for row in rows
        if row.get("cohort")
    ]
    caption = [reasons(neuron for neuron in found.values() if neuron.kind != "cohort"), escape("\n".join(cohorts))]
    table.caption = "\n".join(filter(None, caption)) or None
    return table


def cohort_table(cohorts: Sequence["taoray.CohortStanding"]) -> Table:
    """Where cohorts stand on the ledger; of members that an update was taken of, or that still earn."""
    table = plain_table("cohorts", ["cohort", "member"], ["epoch", "parameters", "sum", "taken"])
    for cohort in cohorts:
        members = sorted({*cohort.accepted, *cohort.sums_bits})
        for index, member in enumerate(members or [""]):
            table.add_row(
                *((escape(cohort.name), escape(member)) if index == 0 else ("", escape(member))),
                *((str(cohort.epoch), cohort.parameters[:8]) if index == 0 else ("", "")),
                bits(cohort.sums_bits.get(member), 5),
                "yes" if member in cohort.accepted else "·",
            )
    return table


def placement_table(placement: PlacementRecord) -> Table:
    """Each host's stacks: the versions that were asked as one batch, by who published them."""
    table = plain_table(f"hosts in epoch {placement.epoch}", ["host", "asked together"], ["versions", "MiB"])
    table.columns[1].no_wrap = False
    for host in placement.hosts:
        for stack in host.stacks:
            named = Counter(name or "a member" for name in stack.names)
            together = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in named.items())
            table.add_row(host.host, escape(together), str(len(stack.versions)), mib(stack.size_bytes))
        total = f"{mib(host.size_bytes)} of {host.capacity_bytes >> 20:,}"
        table.add_row(
            "", "" if host.fits else "paged in and out", str(sum(len(s.versions) for s in host.stacks)), total
        )
    notes = [
        f"{', '.join(dict.fromkeys(stack.names))} were asked one by one: {stack.apart}"
        for host in placement.hosts
        for stack in host.stacks
        if stack.apart
    ]
    notes += [f"{host}: {note}" for host, said in placement.notes.items() for note in said]
    table.caption = escape("\n".join(notes)) or None
    return table


def mib(size_bytes: int) -> str:
    """A size for a person."""
    return f"{size_bytes / 2**20:,.1f}"


def rows_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Any rows with equal keys; what stands last may take several lines."""
    keys = list(rows[0]) if rows else []
    table = plain_table(title, keys, [])
    if keys:
        table.columns[-1].no_wrap = False
    for row in rows:
        table.add_row(*("·" if row[key] is None else str(row[key]) for key in keys))
    return table

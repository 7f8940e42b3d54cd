"""`taoray ledger`: derive it again, or read its blocks."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import taoray
from cluster.cli import archive, proofs
from cluster.cli.audit import audit
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.tables import rows_table, tao
from ledger.golden import run_golden

app = typer.Typer(help="The ledger: verify it, read it.", no_args_is_help=True)
app.command()(audit)
app.command("prove")(proofs.prove)
app.command("check-proof")(proofs.check_proof)
app.command("export")(archive.export)
app.command("import")(archive.import_)
app.command("prune")(archive.prune)
app.command("migrate")(archive.migrate)


@app.command()
def verify(
    home: HomeOption = None,
    light: Annotated[bool, typer.Option("--light", help="Headers, finality sets and votes only; no replay.")] = False,
    json: JsonOption = False,
) -> None:
    """Replay every block from the genesis, and compare every hash, signature, receipt and root."""
    if light:
        _verify_light(home_of(home).folder, json)
        return
    verified = taoray.verify(home_of(home).folder)
    if json:
        print_json({field: _hex(getattr(verified, field)) for field in verified.__struct_fields__})
        return
    Console().print(
        f"{verified.network}: {verified.height + 1} blocks, {verified.epoch} epochs and {verified.extrinsics} "
        f"extrinsics {_derived(verified.replayed_from)}; state root {verified.state_root.hex()[:16]}, "
        f"issuance {tao(verified.issuance_rao)} τ, final to {verified.final_height}",
        highlight=False,
        soft_wrap=True,
    )


def _verify_light(home: Path, json: bool) -> None:
    verified = taoray.verify_light(home)
    if json:
        print_json({field: _hex(getattr(verified, field)) for field in verified.__struct_fields__})
        return
    said = f"{verified.network}: {verified.height + 1} headers and {verified.votes} votes checked, nothing executed; "
    Console().print(
        said + f"block {verified.block_hash.hex()[:16]} of term {verified.term}, final to {verified.final_height}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def log(
    home: HomeOption = None,
    last: Annotated[int, typer.Option(min=1, help="How many blocks, counted from the last.")] = 20,
    json: JsonOption = False,
) -> None:
    """The last blocks with their extrinsics and receipts."""
    rows = taoray.blocks(home_of(home).folder, last)
    if json:
        print_json(rows)
    else:
        Console().print(rows_table("blocks", [_shown(row) for row in rows]))


@app.command()
def golden(
    file: Annotated[Path, typer.Argument(help="A file of golden cases.")],
    json: JsonOption = False,
) -> None:
    """Run numeric cases of consensus and token rules through this ledger; exit 1 if one comes out differently."""
    report = run_golden(file)
    if json:
        print_json(report)
    else:
        console = Console(soft_wrap=True)
        for skipped in report.skipped:
            console.print(f"skipped {skipped.id}: {skipped.why}", highlight=False, markup=False)
        for failed in report.failed:
            said = f"FAILED {failed.id}: {failed.what} is {failed.got}, expected {failed.expected}"
            console.print(said, highlight=False, markup=False)
        counted = f"{report.passed} passed, {len(report.failed)} failed, {len(report.skipped)} skipped"
        console.print(counted, highlight=False)
    if report.failed:
        raise typer.Exit(1)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A block in a line: equal calls with equal receipts are counted."""
    counted = Counter(row["extrinsics"])
    calls = ", ".join(f"{count} {call}" for call, count in counted.items())
    return {**row, "block_hash": row["block_hash"][:12], "extrinsics": calls}


def _derived(replayed_from: int) -> str:
    if not replayed_from:
        return "derived again"
    return f"checked, derived again from the snapshot at block {replayed_from} (older bodies are pruned)"


def _hex(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value

"""`taoray wallet`: keys in a network's home, what they hold, and transfers between them.

Invariants: a password or mnemonic is asked for on the terminal, never taken as an argument; the mnemonic is printed
once, when it is made.
"""

from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.tables import rows_table, tao
from ledger.errors import WalletError
from ledger.keys import encode_address
from ledger.units import parse_tao

app = typer.Typer(help="Keys, balances, transfers.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The wallet's name.")]


@app.command()
def new(
    name: NameArgument,
    home: HomeOption = None,
    encrypt: Annotated[
        bool, typer.Option("--password/--no-password", help="Ask for a password and encrypt the coldkey.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Make a wallet with random keys, and show its mnemonic once."""
    password = typer.prompt("password of the coldkey", hide_input=True, confirmation_prompt=True) if encrypt else None
    wallet, words = taoray.Wallet.create(home_of(home).wallets, name, password=password)
    if json:
        print_json({"name": name, "coldkey": encode_address(wallet.coldkey_public), "mnemonic": words})
        return
    console = Console()
    console.print(f"wallet {name}: coldkey {encode_address(wallet.coldkey_public)}", highlight=False, soft_wrap=True)
    console.print("its mnemonic, shown this once; whoever has it has the funds:", highlight=False)
    console.print(f"  [bold]{words}[/]", soft_wrap=True)


@app.command("list")
def list_(home: HomeOption = None, json: JsonOption = False) -> None:
    """The wallets in the home, with what they hold."""
    rows = taoray.balances(home_of(home).folder)
    if json:
        print_json(rows)
        return
    shown = [{**row, "free τ": tao(row["free_rao"]), "staked τ": tao(row["staked_rao"])} for row in rows]
    keys = ("name", "coldkey", "free τ", "staked τ")
    Console().print(rows_table("wallets", [{key: row[key] for key in keys} for row in shown]))


@app.command()
def balance(name: NameArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """What one wallet holds: free, and staked to hotkeys."""
    row = next((row for row in taoray.balances(home_of(home).folder) if row["name"] == name), None)
    if row is None:
        raise WalletError(f"there is no wallet {name!r} in {home_of(home).wallets}: `taoray wallet list` shows them")
    if json:
        print_json(row)
    else:
        text = f"{name}: {tao(row['free_rao'])} τ free, {tao(row['staked_rao'])} τ staked"
        Console().print(text, highlight=False)


@app.command()
def transfer(
    name: NameArgument,
    to: Annotated[str, typer.Argument(help="A wallet of this home, or an address.")],
    amount_tao: Annotated[str, typer.Argument(help="In TAO, such as 1.5.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a transfer and queue it: the next block takes it."""
    try:
        amount_rao = parse_tao(amount_tao)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    place = home_of(home)
    wallet = taoray.Wallet.open(place.wallets, name)
    password = typer.prompt("password of the coldkey", hide_input=True) if wallet.encrypted else None
    extrinsic_hash = taoray.transfer(place.folder, name, to, amount_rao, password=password)
    if json:
        print_json({"extrinsic": extrinsic_hash, "amount_rao": amount_rao, "state": "queued"})
    else:
        text = f"queued {tao(amount_rao)} τ from {name} to {to}: {extrinsic_hash[:16]}, in the next block"
        Console().print(text, highlight=False, soft_wrap=True)

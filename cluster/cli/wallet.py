"""`taoray wallet`: keys in a network's home, what they hold, and transfers between them.

Invariants: a password or mnemonic is asked for on the terminal or read from standard input, never taken as an argument;
the mnemonic is printed once, when it is made.
"""

import sys
from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli import funds
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.secret import ask_secret
from cluster.cli.tables import rows_table, tao
from ledger.errors import WalletError
from ledger.keys import Keypair, decode_address, encode_address

app = typer.Typer(help="Keys, balances, transfers, stake.", no_args_is_help=True)

for command in (funds.transfer, funds.stake, funds.unstake, funds.faucet):
    app.command()(command)

EncryptOption = Annotated[
    bool, typer.Option("--password/--no-password", help="Ask for a password and encrypt the coldkey.")
]
NameArgument = Annotated[str, typer.Argument(help="The wallet's name.")]


@app.command()
def new(
    name: NameArgument,
    home: HomeOption = None,
    encrypt: EncryptOption = True,
    json: JsonOption = False,
) -> None:
    """Make a wallet with random keys, and show its mnemonic once."""
    password = ask_secret("password of the coldkey", confirm=True) if encrypt else None
    wallet, words = taoray.Wallet.create(home_of(home).wallets, name, password=password)
    _show(name, wallet, words, json)


@app.command()
def recover(
    name: NameArgument, home: HomeOption = None, encrypt: EncryptOption = True, json: JsonOption = False
) -> None:
    """Make a wallet again from its mnemonic, which is asked for on the terminal or read from standard input.

    The coldkey is the old one; the hotkey is new. Without a terminal the first line is the mnemonic, the second the
    password.
    """
    words = ask_secret("mnemonic of the coldkey")
    Keypair.from_mnemonic(words)
    password = ask_secret("password of the coldkey", confirm=True) if encrypt else None
    wallet, _ = taoray.Wallet.create(home_of(home).wallets, name, password=password, mnemonic=words)
    _show(name, wallet, "", json)


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
def sign(
    name: NameArgument,
    message: Annotated[str, typer.Argument(help="The message; `-` reads it from standard input.")],
    hotkey: Annotated[str, typer.Option(help="Sign with this hotkey instead of the coldkey.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a message of one's own; nothing that the ledger takes can be signed this way."""
    wallet = taoray.Wallet.open(home_of(home).wallets, name)
    if hotkey:
        keypair = wallet.hotkey(hotkey)
    else:
        keypair = wallet.coldkey(ask_secret("password of the coldkey") if wallet.encrypted else None)
    signature = taoray.sign_message(keypair, _message(message)).hex()
    if json:
        print_json({"address": keypair.address, "signature": signature})
    else:
        print(signature)


@app.command()
def verify(
    address: Annotated[str, typer.Argument(help="Who is said to have signed.")],
    message: Annotated[str, typer.Argument(help="The message; `-` reads it from standard input.")],
    signature: Annotated[str, typer.Argument(help="What `sign` printed.")],
    json: JsonOption = False,
) -> None:
    """Check the signature of a message; exit 1 if it is not this key's of this message."""
    try:
        given = bytes.fromhex(signature)
    except ValueError as error:
        raise typer.BadParameter("a signature is 128 hexadecimal digits") from error
    good = taoray.verify_message(decode_address(address), _message(message), given)
    if json:
        print_json({"address": address, "good": good})
    else:
        print("the signature is good" if good else "the signature does not verify for this address and message")
    if not good:
        raise typer.Exit(1)


def _message(message: str) -> bytes:
    return sys.stdin.buffer.read() if message == "-" else message.encode()


def _show(name: str, wallet: taoray.Wallet, words: str, json: bool) -> None:
    """A wallet that was made, with its mnemonic if that is new."""
    address = encode_address(wallet.coldkey_public)
    if json:
        print_json({"name": name, "coldkey": address} | ({"mnemonic": words} if words else {}))
        return
    console = Console()
    console.print(f"wallet {name}: coldkey {address}", highlight=False, soft_wrap=True)
    if words:
        console.print("its mnemonic, shown this once; whoever has it has the funds:", highlight=False)
        console.print(f"  [bold]{words}[/]", soft_wrap=True)

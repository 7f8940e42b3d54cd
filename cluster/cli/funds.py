"""What `taoray wallet` asks of the ledger: transfers, stake, and the faucet of networks in development.

Invariants: each is signed at once and queued; the next block takes it, or refuses it with a code.
"""

from typing import Annotated

import typer
from rich.console import Console

import taoray
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.secret import ask_secret
from cluster.cli.tables import tao
from cluster.home import Home
from ledger.units import parse_tao

NameArgument = Annotated[str, typer.Argument(help="The wallet's name.")]
AmountArgument = Annotated[str, typer.Argument(help="In TAO, such as 1.5.")]
HotkeyArgument = Annotated[str, typer.Argument(help="A neuron or a wallet of this home, or the address of a hotkey.")]


def transfer(
    name: NameArgument,
    to: Annotated[str, typer.Argument(help="A wallet of this home, or an address.")],
    amount_tao: AmountArgument,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a transfer and queue it: the next block takes it."""
    amount_rao, place = _rao(amount_tao), home_of(home)
    queued = taoray.transfer(place.folder, name, to, amount_rao, password=_password(place, name))
    _tell(queued, amount_rao, f"from {name} to {to}", json)


def stake(
    name: NameArgument,
    hotkey: HotkeyArgument,
    amount_tao: AmountArgument,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Put free balance on a hotkey: its neuron's dividends raise it."""
    amount_rao, place = _rao(amount_tao), home_of(home)
    queued = taoray.stake(place.folder, name, hotkey, amount_rao, password=_password(place, name))
    _tell(queued, amount_rao, f"of {name} as stake on {hotkey}", json)


def unstake(
    name: NameArgument,
    hotkey: HotkeyArgument,
    amount_tao: AmountArgument,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Take stake back from a hotkey into free balance."""
    amount_rao, place = _rao(amount_tao), home_of(home)
    queued = taoray.unstake(place.folder, name, hotkey, amount_rao, password=_password(place, name))
    _tell(queued, amount_rao, f"of {name}'s stake on {hotkey} back", json)


def faucet(
    to: Annotated[str, typer.Argument(help="A wallet of this home, or an address.")],
    amount_tao: AmountArgument,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Give out some of the treasury's TAO; only on a network in development."""
    amount_rao = _rao(amount_tao)
    _tell(taoray.faucet(home_of(home).folder, to, amount_rao), amount_rao, f"from the treasury to {to}", json)


def _rao(amount_tao: str) -> int:
    try:
        return parse_tao(amount_tao)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _password(place: Home, name: str) -> str | None:
    return ask_secret("password of the coldkey") if taoray.Wallet.open(place.wallets, name).encrypted else None


def _tell(extrinsic_hash: str, amount_rao: int, what: str, json: bool) -> None:
    if json:
        print_json({"extrinsic": extrinsic_hash, "amount_rao": amount_rao, "state": "queued"})
        return
    text = f"queued {tao(amount_rao)} τ {what}: {extrinsic_hash[:16]}, in the next block"
    Console().print(text, highlight=False, soft_wrap=True)

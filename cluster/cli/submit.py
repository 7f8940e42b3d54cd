"""`taoray submit` and `taoray withdraw`: a model becomes a miner of a network, and is taken out of it."""

from typing import Annotated

import typer
from msgspec import structs
from rich.console import Console
from rich.markup import escape

import taoray
from cluster.cli.bar import Bar
from cluster.cli.output import HomeOption, JsonOption, home_of, print_json
from cluster.cli.secret import ask_secret
from cluster.cli.tables import tao
from cluster.job.attempt import INTERRUPTED
from ledger.units import parse_tao

NetworkOption = Annotated[
    str | None, typer.Option("--network", metavar="URL", help="A network elsewhere; the home's wallets sign.")
]
WaitOption = Annotated[
    float | None,
    typer.Option("--wait", min=0, metavar="SECONDS", help="For the blocks that take it; 600 where the network runs."),
]


def submit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model or adapter folder, or the URL of a peer.")],
    name: Annotated[str | None, typer.Option(help="The neuron's name; the folder's without it.")] = None,
    wallet: Annotated[str | None, typer.Option(help="Who pays; the wallet of that name without it.")] = None,
    hotkey: Annotated[str | None, typer.Option(help="The wallet's hotkey that is registered.")] = None,
    stake: Annotated[str, typer.Option(metavar="TAO", help="Put on the hotkey from the wallet.")] = "0",
    max_price: Annotated[
        str | None, typer.Option("--max-price", metavar="TAO", help="Of the registration; twice today's without it.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Let the network train it each epoch.")] = False,
    home: HomeOption = None,
    network: NetworkOption = None,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Register a model as a miner; again under its name: publish a new version."""
    bar = Bar()
    stake_rao, max_price_rao = _rao(stake), None if max_price is None else _rao(max_price)

    def password() -> str:
        return ask_secret("password of the coldkey")

    try:
        with bar:
            made = taoray.submit(
                model,
                name=name,
                wallet=wallet,
                hotkey=hotkey,
                stake_rao=stake_rao,
                max_price_rao=max_price_rao,
                train=train,
                home=home_of(home).folder,
                network=network,
                password=password,
                wait_s=wait,
                show=bar,
            )
    except KeyboardInterrupt:
        bar.note("stopped; the same command goes on with what was queued")
        raise typer.Exit(INTERRUPTED) from None
    if json:
        print_json(_document(made))
    else:
        for line in _sentences(made):
            Console().print(line, highlight=False, soft_wrap=True)


def withdraw(
    name: Annotated[str, typer.Argument(help="The neuron's name.")],
    home: HomeOption = None,
    network: NetworkOption = None,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Take a peer out: from the next epoch on it is asked and paid no more. It keeps its uid and its stake."""
    bar = Bar()
    with bar:
        gone = taoray.withdraw(name, home=home_of(home).folder, network=network, wait_s=wait, show=bar)
    if json:
        print_json(gone)
        return
    where = f"in block {gone.height}" if gone.height else f"queued: {_when(gone.running)}"
    text = f"{gone.name} is withdrawn from {gone.network} {where}; asked in epoch {gone.last_epoch} at the latest"
    Console().print(text, highlight=False, soft_wrap=True)


def _document(made: taoray.Submission) -> dict[str, object]:
    fields = {name: getattr(made, name) for name in made.__dataclass_fields__}
    if made.delivered is not None:
        found = structs.asdict(made.delivered)
        base = made.delivered.base
        fields["delivered"] = found | {
            "manifest": made.delivered.manifest.hex(),
            "base": None if base is None else base.hex(),
        }
    return fields


def _sentences(made: taoray.Submission) -> list[str]:
    """What a person is told: who it is, what was found, what it cost, and what happens next."""
    uid = "uid not known yet" if made.uid is None else f"uid {made.uid}"
    lines = [f"[bold]{made.name}[/] in {made.network}: {made.state}, {uid}, hotkey {made.hotkey}"]
    if made.endpoint:
        lines.append(f"endpoint {escape(made.endpoint)}")
    elif made.manifest:
        lines.append(f"version {made.manifest}")
    if made.delivered is not None:
        found = made.delivered
        lines.append(
            f"{found.model_type}, {found.parameters:,} parameters, {found.size_bytes / 2**20:.1f} MiB, reads "
            f"{found.reads}; {found.bits_per_byte:.3f} bits per byte on the trial batch"
        )
    if made.price_rao is not None:
        lines.append(f"paid {tao(made.price_rao)} τ, which is burned; stake {tao(made.stake_rao)} τ")
    elif made.max_price_rao is not None:
        lines.append(f"costs {tao(made.max_price_rao)} τ at most, which is burned; stake {tao(made.stake_rao)} τ")
    if made.immune_until_epoch is not None:
        lines.append(f"cannot be replaced before epoch {made.immune_until_epoch}")
    if made.state == "queued":
        lines.append(f"queued: {_when(made.running)}")
    if made.state == "unchanged":
        lines.append("the neuron stands for this already: nothing was sent")
    else:
        lines.append(f"valued for the first time in epoch {made.valued_epoch}")
    return lines


def _when(running: bool) -> str:
    return "the next open block takes it" if running else "nobody drives the network; its next run takes it"


def _rao(amount_tao: str) -> int:
    try:
        return parse_tao(amount_tao)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

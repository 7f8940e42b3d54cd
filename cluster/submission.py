"""What is asked for in a submission or withdrawal, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.show import Progress
from ledger.wallet import Wallet
from models.intake.check import Checked

State = Literal["registered", "published", "served", "queued", "unchanged"]

Password = str | Callable[[], str] | None
"""Of a coldkey: what it is, or how to ask for it where it is needed."""


@dataclass(frozen=True)
class Asked:
    """A submission as it was asked for.

    Attributes:
        model: the folder of a model or an adapter; of no meaning where there is an endpoint.
        endpoint: of a remote peer.
        name: of the neuron.
        wallet, hotkey: names of keys; None: those that are found, or made.
        max_price_rao: of a registration; None: twice the price of the moment.
        wait_s: for the block that takes it; None: ten minutes where the network runs, else not.
    """

    model: Path
    endpoint: str | None
    name: str
    wallet: str | None
    hotkey: str | None
    stake_rao: int
    max_price_rao: int | None
    train: bool
    password: Password
    wait_s: float | None
    show: Progress

    def secret(self, wallet: Wallet) -> str | None:
        """The password of a wallet's coldkey, asked for where that is how it is given; None where it has none."""
        if not wallet.encrypted:
            return None
        return self.password() if callable(self.password) else self.password


@dataclass(frozen=True)
class Submission:
    """What came of a submission.

    Attributes:
        state: registered (a new neuron), published (a version of its neuron), served (an endpoint of its neuron),
            queued (the next block of its kind takes it), unchanged (it is what the neuron stands for already).
        kind: hosted, adapter or remote; empty for what is unchanged.
        hotkey: its address.
        uid: None while no block holds the registration.
        manifest: of the version, hex; None for a remote peer.
        price_rao: what the registration cost; None where none was made, or while it is queued.
        max_price_rao: what it costs at most; None where none was made.
        immune_until_epoch: the first in which the neuron may be replaced; None while no block holds it.
        valued_epoch: the first epoch that asks and values what was submitted, as far as is known.
        height: of the block that holds it.
        final: whether that block is.
        running: whether somebody drove the network.
        delivered: what the checks found; None for an endpoint and for what is unchanged.
        extrinsics: their hashes, hex.
    """

    network: str
    name: str
    state: State
    kind: Literal["hosted", "adapter", "remote", ""]
    wallet: str
    hotkey: str
    uid: int | None
    manifest: str | None
    endpoint: str | None
    price_rao: int | None
    max_price_rao: int | None
    stake_rao: int
    train: bool
    immune_until_epoch: int | None
    valued_epoch: int
    height: int | None
    final: bool
    running: bool
    delivered: Checked | None
    extrinsics: tuple[str, ...]


@dataclass(frozen=True)
class Withdrawal:
    """What came of a withdrawal: after `last_epoch` the peer is asked no more. It keeps its uid and its stake, and the
    collective what it holds of it.

    Attributes:
        state: withdrawn, or queued: the next block of its kind takes it.
    """

    network: str
    name: str
    state: Literal["withdrawn", "queued"]
    uid: int | None
    hotkey: str
    last_epoch: int
    height: int | None
    final: bool
    running: bool
    extrinsics: tuple[str, ...]

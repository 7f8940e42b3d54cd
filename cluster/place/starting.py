"""Starting each kind of actor with its settings, on the place that it is given.

Invariants: a call returns at once, the first ping tells; a name that an ended actor still holds is waited for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from actors.disk import Disk
from actors.dispatch import QUARANTINE
from actors.gateway import Gateway, GatewaySettings
from actors.host import HostSettings
from actors.keeper import Keeper, KeeperSettings
from actors.seam import ANYWHERE, Handle, Place, start_actor, start_keeper
from actors.validator import ValidatorSettings
from cluster.config import OPERATOR, Network
from cluster.home import Home
from ledger.genesis import Genesis

NAME_S = 30.0
"""How long the name of an actor that was ended may stay taken."""


@dataclass(frozen=True)
class Starter:
    """Starts the actors of a network. `host_class`, `validator_class`: the plain classes behind those actors."""

    network: Network
    home: Home
    genesis: Genesis
    host_class: type
    validator_class: type

    @property
    def disk(self) -> Disk | None:
        """Where each node has the ledger's databases; None: in the home."""
        ledger = self.network.storage.ledger
        return Disk(ledger=ledger, genesis=self.genesis) if ledger else None

    def keeper(self, place: Place) -> Handle:
        """The one keeper; one that runs already is found where it is."""
        settings = KeeperSettings(
            chain=str(self.home.chain),
            mempool=str(self.home.mempool),
            wallets=str(self.home.wallets),
            operator=OPERATOR,
            keep_epochs=self.network.storage.keep_epochs,
            disk=self.disk,
        )
        return start_keeper(Keeper, settings, namespace=self.genesis.hash.hex(), place=place)

    def validator(self, name: str, place: Place) -> Handle:
        """A validator, with its share of a GPU where it values on one."""
        placement = self.network.placement
        settings = ValidatorSettings(
            name=name,
            genesis=self.genesis,
            folder=str(self.home.validators / name),
            evidence=str(self.home.evidence),
            corpus=str(self.home.text),
            wallets=str(self.home.wallets),
            windows=self.network.query.windows,
            window_bytes=self.network.query.window_bytes,
            gpus=placement.gpus_per_validator,
            disk=self.disk,
        )
        return _named(
            lambda: start_actor(
                self.validator_class,
                settings,
                name=name,
                gpus=placement.gpus_per_validator,
                threads=placement.threads,
                place=place,
            )
        )

    def host(self, name: str, place: Place) -> Handle:
        """A host, with all that it reserves."""
        placement = self.network.placement
        return self._host(name, place, placement.gpus_per_host, placement.memory_mib << 20)

    def quarantine(self, place: Place = ANYWHERE) -> Handle:
        """The host that is asked one thing at a time. It reserves nothing, for the hosts may have all GPUs; it sees
        them nevertheless.
        """
        return self._host(QUARANTINE, place, 0.0, 0)

    def gateway(self, place: Place) -> Handle:
        """The actor that asks remote peers."""
        settings = GatewaySettings(
            wallets=str(self.home.wallets),
            operator=OPERATOR,
            at_once=self.network.remote.at_once,
            allow_private=self.network.remote.allow_private,
        )
        return start_actor(Gateway, settings, name="gateway", place=place)

    def _host(self, name: str, place: Place, gpus: float, memory_bytes: int) -> Handle:
        placement, home = self.network.placement, self.home
        settings = HostSettings(
            genesis=self.genesis.hash,
            store=str(home.store),
            corpus=str(home.text),
            wallets=str(home.wallets),
            peers=str(home.peers),
            device=placement.device,
            threads=placement.threads,
            capacity_bytes=placement.capacity_mib << 20,
            depot=self.network.storage.depot,
            contributions=str(home.contributions),
            operator=OPERATOR,
            name=name,
            gpus=placement.gpus_per_host,
        )
        return _named(
            lambda: start_actor(
                self.host_class,
                settings,
                name=name,
                gpus=gpus,
                memory_bytes=memory_bytes,
                threads=placement.threads,
                place=place,
            )
        )


def _named(start: Callable[[], Handle]) -> Handle:
    end = time.monotonic() + NAME_S
    while True:
        try:
            return start()
        except ValueError:  # Ray's, for a name that is taken
            if time.monotonic() > end:
                raise
            time.sleep(0.1)

"""The crew: the actors of a running network, started in parallel, known to answer, and ended cleanly.

Invariants: nothing is asked of an actor before its first ping came back; an actor that does not start within its
deadline is named; what was started here is ended here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import ray
from ray.exceptions import RayError

from actors.dispatch import QUARANTINE
from actors.gateway import Gateway, GatewaySettings
from actors.host import Host, HostSettings
from actors.keeper import Keeper, KeeperSettings
from actors.pool import Pool
from actors.seam import Handle, start_actor, start_keeper
from actors.validator import Validator, ValidatorSettings
from cluster.calls import ask_each
from cluster.config import OPERATOR, Network
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.place.gpus import missing_gpus
from cluster.place.plan import host_names
from ledger.genesis import Genesis

CLOSE_S = 10.0
"""How long an actor may take to give its database back."""


@dataclass(frozen=True)
class Crew:
    """The actors of a network.

    Attributes:
        keeper: the ledger's writer.
        validators: by name.
        pool: the hosts.
        gateway: asks remote peers; None where the panel has none.
    """

    keeper: Handle
    validators: Mapping[str, Handle]
    pool: Pool
    gateway: Handle | None = None


def start_crew(
    network: Network,
    home: Home,
    genesis: Genesis,
    *,
    host_class: type = Host,
    validator_class: type = Validator,
) -> Crew:
    """Start all actors at once and wait until each answers.

    Args:
        host_class, validator_class: the plain classes behind those actors.

    Raises:
        ClusterError: who did not start within `deadlines.start_s`, and why.
    """
    settings = _host_settings(network, home, genesis)

    def start_host(name: str) -> Handle:
        place, own = network.placement, msgspec.structs.replace(settings, name=name)
        # The quarantine reserves no GPU, for the hosts may have them all; it sees them nevertheless.
        gpus = 0.0 if name == QUARANTINE else place.gpus_per_host
        return start_actor(host_class, own, name=name, gpus=gpus, threads=place.threads)

    keeper_settings = KeeperSettings(
        chain=str(home.chain),
        mempool=str(home.mempool),
        wallets=str(home.wallets),
        operator=OPERATOR,
        keep_epochs=network.storage.keep_epochs,
    )
    keeper = start_keeper(Keeper, keeper_settings, namespace=genesis.hash.hex())
    validators = {
        entry.name: start_actor(
            validator_class,
            _validator_settings(network, home, genesis, entry.name),
            name=entry.name,
            gpus=network.placement.gpus_per_validator,
            threads=network.placement.threads,
        )
        for entry in network.validators
    }
    hosts = {name: start_host(name) for name in host_names(network.placement.hosts)}
    gateways = {"gateway": _start_gateway(network, home)} if genesis.panel == "next_byte" else {}
    _, failures = ask_each(
        {"keeper": keeper, **validators, **hosts, **gateways},
        lambda name, handle: handle.ping.remote(),
        deadline_s=network.deadlines.start_s,
    )
    if failures:
        reasons = [f"{name} ({why})" for name, why in sorted(failures.items())]
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray types none of it
        node_gpus = [node["Resources"].get("GPU", 0.0) for node in nodes if node["Alive"]]
        lacking = missing_gpus(network.placement, node_gpus, len(network.validators))
        raise ClusterError(f"did not start: {'; '.join([*reasons, lacking] if lacking else reasons)}")
    pool = Pool(hosts, lambda: start_host(QUARANTINE))
    return Crew(keeper, validators, pool, gateways.get("gateway"))


def end_crew(crew: Crew) -> None:
    """Have the databases given back, then end every actor, the detached keeper too: the database is the truth."""
    holders = {"keeper": crew.keeper, **crew.validators}
    ask_each(holders, lambda name, handle: handle.close.remote(), deadline_s=CLOSE_S)
    gateways = () if crew.gateway is None else (crew.gateway,)
    for handle in (*holders.values(), *crew.pool.hosts.values(), *gateways):
        try:
            ray.kill(handle)
        except RayError:
            continue


def _start_gateway(network: Network, home: Home) -> Handle:
    settings = GatewaySettings(
        wallets=str(home.wallets),
        operator=OPERATOR,
        at_once=network.remote.at_once,
        allow_private=network.remote.allow_private,
    )
    return start_actor(Gateway, settings, name="gateway")


def _host_settings(network: Network, home: Home, genesis: Genesis) -> HostSettings:
    return HostSettings(
        genesis=genesis.hash,
        store=str(home.store),
        corpus=str(home.text),
        wallets=str(home.wallets),
        peers=str(home.peers),
        device=network.placement.device,
        threads=network.placement.threads,
        capacity_bytes=network.placement.capacity_mib << 20,
        depot=network.storage.depot,
        contributions=str(home.contributions),
        operator=OPERATOR,
        gpus=network.placement.gpus_per_host,
    )


def _validator_settings(network: Network, home: Home, genesis: Genesis, name: str) -> ValidatorSettings:
    return ValidatorSettings(
        name=name,
        genesis=genesis,
        folder=str(home.validators / name),
        evidence=str(home.evidence),
        corpus=str(home.text),
        wallets=str(home.wallets),
        windows=network.query.windows,
        window_bytes=network.query.window_bytes,
        gpus=network.placement.gpus_per_validator,
    )

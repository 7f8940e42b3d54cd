"""The crew: the actors of a running network, started in parallel, known to answer, and ended cleanly.

Invariants: nothing is asked of an actor before its first ping came back; an actor that does not start within its
deadline is named; what was started here is ended here.
"""

import time
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from actors.dispatch import QUARANTINE
from actors.host import Host
from actors.pool import Pool
from actors.seam import Handle
from actors.validator import Validator
from cluster.calls import ask_each
from cluster.config import Network
from cluster.errors import ClusterError
from cluster.home import Home
from cluster.place.ground import Ground
from cluster.place.room import Wanted
from cluster.place.spread import Spread
from cluster.place.starting import Starter
from cluster.show import Progress, Quiet
from ledger.genesis import Genesis

CLOSE_S = 10.0
"""How long an actor may take to give its database back."""


@dataclass
class Crew:
    """The actors of a network. Handles are replaced between epochs, never within one.

    Attributes:
        keeper: the ledger's writer.
        validators: by name.
        pool: the hosts.
        gateway: asks remote peers; None where the panel has none.
        ground: where they run; None where they were not started by a plan.
    """

    keeper: Handle
    validators: dict[str, Handle]
    pool: Pool
    gateway: Handle | None = None
    ground: Ground | None = None

    @property
    def hosts(self) -> int:
        """How many hosts there are, the quarantine not counted: `host-0` and so on."""
        return len(set(self.pool.hosts) - {QUARANTINE})

    def everyone(self) -> dict[str, Handle]:
        """All actors by name."""
        gateways = {} if self.gateway is None else {"gateway": self.gateway}
        return {"keeper": self.keeper, **self.validators, **self.pool.hosts, **gateways}


def start_crew(
    network: Network,
    home: Home,
    genesis: Genesis,
    *,
    host_class: type = Host,
    validator_class: type = Validator,
    show: Progress | None = None,
) -> Crew:
    """Plan over the cluster's nodes, start all actors at once and wait until each answers.

    Args:
        host_class, validator_class: the plain classes behind those actors.
        show: hears what the cluster has no room for.

    Raises:
        ClusterError: what has no room, or who did not start within `deadlines.start_s`, and why.
    """
    end = time.monotonic() + network.deadlines.start_s
    ground = Ground(network, Starter(network, home, genesis, host_class, validator_class), show or Quiet())
    try:
        plan = ground.find_room(network.deadlines.start_s)
        crew = _start(ground, plan, end)
    except BaseException:
        ground.release()
        raise
    _, failures = ask_each(
        crew.everyone(), lambda name, handle: handle.ping.remote(), deadline_s=max(1.0, end - time.monotonic())
    )
    if failures:
        end_crew(crew)
        raise ClusterError(f"did not start: {'; '.join(f'{name} ({why})' for name, why in sorted(failures.items()))}")
    return crew


def end_crew(crew: Crew) -> None:
    """Have the databases given back, then end every actor, the detached keeper too: the database is the truth."""
    holders = {"keeper": crew.keeper, **crew.validators}
    ask_each(holders, lambda name, handle: handle.close.remote(), deadline_s=CLOSE_S)
    for handle in crew.everyone().values():
        try:
            ray.kill(handle)
        except RayError:
            continue
    if crew.ground is not None:
        crew.ground.release()


def _start(ground: Ground, plan: Spread, end: float) -> Crew:
    """Start what the plan has room for; hosts first, because they reserve what they need.

    Raises:
        ClusterError: not one host got what it reserves.
    """
    wanted = {one.name: one for one in ground.wanted}
    placed = [one.name for one in ground.wanted if one.role == "host" and one.name in plan.nodes]
    hosts = ground.start_hosts(placed, plan.nodes, end - time.monotonic())
    if not hosts:
        raise ClusterError(f"no room for the network: {_taken(wanted[placed[0]], len(placed))}")
    if len(hosts) < len(placed):
        ground.tell(_taken(wanted[placed[0]], len(placed)))
    without = [one for one in ground.wanted if one.role == "host" and one.name not in hosts]
    if without:
        ground.lacking((*plan.sentences, f"runs with {len(hosts)} of its {len(hosts) + len(without)} hosts"), without)

    place = {name: ground.place(one, plan.nodes.get(name, "")) for name, one in wanted.items()}
    starter = ground.starter
    validators = [one.name for one in ground.wanted if one.role == "validator"]
    return Crew(
        keeper=starter.keeper(place["keeper"]),
        validators={name: starter.validator(name, place[name]) for name in validators},
        pool=Pool(hosts, ground.quarantine),
        gateway=starter.gateway(place["gateway"]) if "gateway" in wanted else None,
        ground=ground,
    )


def _taken(one: Wanted, count: int) -> str:
    """That what hosts reserve is there, but held by others."""
    needs = [f"{one.gpus:g} GPUs"] if one.gpus else []
    needs += [f"{one.memory_bytes >> 20:,} MiB of memory"] if one.memory_bytes else []
    return (
        f"{count} hosts ask for {' and '.join(needs)} each, all on one node; the nodes have them, but others hold "
        "them: end those, or add nodes"
    )

"""The ground that a network stands on: its plan over nodes, what it reserved, and what it told of them.

Invariants: a network that can run with fewer hosts runs with fewer, and says so; without its keeper, all of its
validators and one host it does not start; what is missing is named, and the cluster's autoscaler is told.
"""

import time
from collections.abc import Mapping, Sequence

from actors.seam import Handle, Place
from cluster.config import Network
from cluster.errors import ClusterError
from cluster.place.nodes import Node, read_nodes
from cluster.place.plan import host_names
from cluster.place.reserve import Reservation, ask_for_nodes, reserves
from cluster.place.room import Wanted
from cluster.place.spread import Spread, spread
from cluster.place.starting import Starter
from cluster.show import Progress

LOOK_S = 1.0
"""Between two looks at the nodes while some are waited for."""


class Ground:
    """Where the actors of a network are to run.

    Attributes:
        wanted: all of them.
        starter: starts them.
        nodes: as they were at the last look.
    """

    def __init__(self, network: Network, starter: Starter, show: Progress) -> None:
        self.wanted = wanted_actors(network, gateway=starter.genesis.panel == "next_byte")
        self.starter = starter
        self.nodes: tuple[Node, ...] = ()
        self._show = show
        self._threads = network.placement.threads
        self._reservation = Reservation()
        self._hinted = False
        self._told: set[str] = set()

    def look(self) -> tuple[Node, ...]:
        """The nodes as they are now."""
        self.nodes = read_nodes()
        return self.nodes

    def find_room(self, deadline_s: float) -> Spread:
        """A plan with which the network can run; nodes that may still come are waited for.

        Raises:
            ClusterError: what is missing for it, after `deadline_s`.
        """
        end = time.monotonic() + deadline_s
        while True:
            plan = spread(self.wanted, self.look())
            if can_run(self.wanted, plan):
                return plan
            self.lacking(plan.sentences, plan.missing)
            if time.monotonic() >= end:
                raise ClusterError(f"no room for the network: {'; '.join(plan.sentences)}")
            time.sleep(min(LOOK_S, max(0.0, end - time.monotonic())))

    def lacking(self, sentences: Sequence[str], missing: Sequence[Wanted]) -> None:
        """Tell once what is missing, and ask for nodes; where nothing is any more, the hint is taken back."""
        for sentence in sentences:
            self.tell(sentence)
        if missing or self._hinted:
            ask_for_nodes(self.wanted if missing else (), self._threads)
            self._hinted = bool(missing)
        if not missing:
            self._told.clear()

    def tell(self, sentence: str) -> None:
        """Tell a person, once as long as something is missing."""
        if sentence not in self._told:
            self._show.note(sentence)
            self._told.add(sentence)

    def place(self, one: Wanted, node: str = "") -> Place:
        """Where to start an actor that reserves nothing: on a node, or where Ray finds room for it. The keeper is on a
        head that is kept free only where all other nodes are preemptible.
        """
        free = tuple(node.id for node in self.nodes if not node.cpus)
        steady = any(node.cpus and not node.preemptible for node in self.nodes)
        bare = free if one.role in ("validator", "host") or (one.role == "keeper" and steady) else ()
        return Place(node=node, never=bare, preemptible=one.role != "keeper")

    def start_hosts(self, names: Sequence[str], nodes: Mapping[str, str], deadline_s: float) -> dict[str, Handle]:
        """Start hosts on their nodes, or in bundles of their own, those for which there are any."""
        hosts = [one for one in self.wanted if one.name in names]
        if not hosts:
            return {}
        if reserves(hosts[0]):
            places = self._reservation.take(hosts, deadline_s)
        else:
            places = [self.place(one, nodes.get(one.name, "")) for one in hosts]
        return {one.name: self.starter.host(one.name, place) for one, place in zip(hosts, places, strict=False)}

    def quarantine(self) -> Handle:
        """Start the quarantine where GPUs are, if hosts ask for some, and on the node that is lost last."""
        asks_gpus = any(one.gpus for one in self.wanted if one.role == "host")
        usable = [node for node in self.look() if node.cpus]
        best = max(
            usable,
            key=lambda node: (asks_gpus and node.gpus > 0, node.head, not node.preemptible, node.id),
            default=None,
        )
        return self.starter.quarantine(self.place(Wanted("quarantine", "host"), best.id if best else ""))

    def release(self) -> None:
        """Give back what was reserved, and take back the hint."""
        self._reservation.release()
        self.lacking((), ())


def wanted_actors(network: Network, *, gateway: bool) -> tuple[Wanted, ...]:
    """All actors of a network, with what they ask for."""
    place = network.placement
    hosts = tuple(
        Wanted(name, "host", gpus=place.gpus_per_host, memory_bytes=place.memory_mib << 20)
        for name in host_names(place.hosts)
    )
    validators = tuple(
        Wanted(entry.name, "validator", stake=entry.stake_tao, gpus=place.gpus_per_validator)
        for entry in network.validators
    )
    return (Wanted("keeper", "keeper"), *validators, *hosts, *((Wanted("gateway", "gateway"),) if gateway else ()))


def can_run(wanted: Sequence[Wanted], plan: Spread) -> bool:
    """Whether a plan has room for one host and for all that are no hosts."""
    hosts = [one for one in wanted if one.role == "host"]
    without = [one for one in plan.missing if one.role == "host"]
    return len(plan.missing) == len(without) < len(hosts)

"""All checks, in the order in which a person mends: software, machine, storage, home, cluster."""

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.config import Network, load_network
from cluster.errors import ClusterError
from cluster.home import Home, find_home
from cluster.home_door import read_settings
from cluster.lease import read_holder
from cluster.observe.doctor.check import Check, bad, ok, warn
from cluster.observe.doctor.machine import (
    check_clock,
    check_dashboard,
    check_free_port,
    check_head,
    check_open_files,
    check_open_port,
    check_shared_memory,
    check_token,
)
from cluster.observe.doctor.network import check_home
from cluster.observe.doctor.software import check_gpus, check_here, compute, driver_gpus, installed
from cluster.observe.doctor.storage import check_storage
from cluster.observe.last import last_record
from cluster.place.ray import joined_ray
from cluster.show import Quiet

Groups = Iterator[tuple[str, Callable[[], list[Check]]]]


def examine(told: Network | None, folder: Path | None, address: str | None) -> Iterator[Check]:
    """What every check says, one after another as it is known.

    Args:
        told: the network that is to run; None: what ran last in the home, else the default one.
        folder: the home, as `find_home` takes it; it need not be there yet.
        address: of a Ray cluster that is to be joined; None: Ray is started here.
    """
    default = told or load_network()
    home = find_home(folder, default.network.name)
    network = default
    if told is None:
        try:
            network = read_settings(home) or default
        except (ClusterError, OSError) as error:
            yield warn("home.settings", f"{error}", "what is checked is what the default network needs")
    for name, group in groups(home, network, address):
        try:
            yield from group()
        except Exception as error:  # a check must not hide those after it; what it met is what a person needs
            yield bad(name, f"could not be checked: {type(error).__name__}: {error}", "tell us, with this sentence")


def groups(home: Home, network: Network, address: str | None) -> Groups:
    """The checks by what they look at."""
    yield "version", check_here
    yield "gpu", lambda: _gpus(network, address)
    yield "machine", lambda: _machine(home, network, address)
    yield "storage", lambda: _storage(home, network)
    yield "home", lambda: check_home(home)
    if address:
        yield "cluster", lambda: _cluster(home, network, address)


def _gpus(network: Network, address: str | None) -> list[Check]:
    place = network.placement
    needed = place.hosts * place.gpus_per_host + len(network.validators) * place.gpus_per_validator
    return check_gpus(driver_gpus(), compute(), os.environ.get("CUDA_VISIBLE_DEVICES"), 0.0 if address else needed)


def _machine(home: Home, network: Network, address: str | None) -> list[Check]:
    last = last_record(home.epochs)
    checks = [
        check_shared_memory(),
        check_open_files(),
        check_clock(last.closed_s if last else 0.0),
        check_token(os.environ, Path.home(), address or ""),
    ]
    if not address:
        checks.append(check_head())
    serve = network.serve
    if serve.port and read_holder(home.lease) is not None:
        checks.append(check_open_port("port.serve", serve.host, serve.port, "the network's HTTP server"))
    elif serve.port:
        checks.append(check_free_port("port.serve", serve.host, serve.port, "the network's HTTP server"))
    return checks


def _storage(home: Home, network: Network) -> list[Check]:
    ledger = network.storage.ledger
    checks = check_storage("home", home.folder, database=not ledger, network=True)
    if ledger:
        folder = Path(os.path.expanduser(os.path.expandvars(ledger)))
        if "$" in str(folder):
            seen = f"storage.ledger is {ledger!r}, and its variable is not set here"
            checks.append(warn("disk", seen, "set it in the environment of each node's Ray, and here to check it"))
        else:
            checks += check_storage("disk", folder.absolute(), database=True, network=False)
    return checks


def _cluster(home: Home, network: Network, address: str) -> list[Check]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    checks = []
    if host and port.isdigit():
        checks.append(check_open_port("port.cluster", host, int(port), "the cluster's head"))
        if checks[0].level == "bad":
            return checks
    checks.append(check_dashboard(host or "127.0.0.1"))
    from cluster.observe.doctor.nodes import PACKAGES, ask_nodes, check_nodes  # brings Ray

    try:
        with joined_ray(address, "doctor", Quiet()):
            facts = ask_nodes(home.folder, network.storage.ledger)
    except ClusterError as error:
        mend = "see that it runs, that its token is here, and that Ray and Python are of its versions"
        return [*checks, bad("cluster.join", f"{error}", mend)]
    own = {package: installed(package) or "" for package in PACKAGES}
    checks.append(ok("cluster.join", f"joined the cluster at {address}"))
    return [*checks, *check_nodes(facts, platform.python_version(), own, network.storage.ledger)]

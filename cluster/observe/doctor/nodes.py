"""The nodes of a Ray cluster, each asked by a small task: versions, clocks, disks, and whether they see the home.

Invariants: a node needs nothing of taoray's to be asked; one that does not answer within its time is named.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from msgspec import Struct
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.observe.doctor.check import Check, bad, ok, warn
from cluster.observe.doctor.machine import LEAST_SHARED_BYTES

ANSWER_S = 60.0
"""A node starts a process for the first task."""

CLOCK_TRIES = 5
NEAR_S, FAR_S = 1.0, 10.0
"""How far clocks may be apart: a lease on a home lasts 30 s, a signed request is good for a minute."""

PACKAGES = ("ray", "torch", "transformers", "taoray")


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What a node says of itself.

    Attributes:
        node: its address. failure: why it says nothing else.
        packages: their versions; empty where one is not installed.
        offset_s, within_s: how far its clock is ahead of this machine's, and how exactly that is known.
        sees_home: None: not asked.
        disk: the folder of the ledger there; disk_fault: why it cannot be written, empty where it can.
    """

    node: str
    failure: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    shared_bytes: int = 0
    gpus: int = 0
    offset_s: float = 0.0
    within_s: float = 0.0
    sees_home: bool | None = None
    disk: str = ""
    disk_fault: str = ""


def ask_nodes(home: Path | None, disk: str, deadline_s: float = ANSWER_S) -> list[NodeFacts]:
    """Ask every node of the cluster that this process has joined.

    Args:
        home: the network's folder; None: it is not looked for.
        disk: `storage.ledger`, expanded on each node; empty: none.
    """
    mark = home / f".doctor-{secrets.token_hex(8)}" if home and home.is_dir() else None
    try:
        if mark is not None:
            mark.write_text("seen")
        alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray types none
        return [_ask(node, str(mark or ""), disk, deadline_s) for node in alive]
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)


def _ask(node: dict[str, Any], mark: str, disk: str, deadline_s: float) -> NodeFacts:
    name = str(node["NodeManagerAddress"])
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look = ray.remote(_look()).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
    clock = ray.remote(_clock()).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
    try:
        said = ray.get(look.remote(mark, disk), timeout=deadline_s)
        offset_s, within_s = measure_clock(lambda: float(ray.get(clock.remote(), timeout=deadline_s)))
    except RayError as error:
        return NodeFacts(node=name, failure=str(error).strip().splitlines()[0])
    return NodeFacts(node=name, gpus=int(node["Resources"].get("GPU", 0)), offset_s=offset_s, within_s=within_s, **said)


def measure_clock(ask: Callable[[], float]) -> tuple[float, float]:
    """How far another clock is ahead of this one's, and within what: by the quickest of a few answers."""
    best = (0.0, float("inf"))
    for _ in range(CLOCK_TRIES):
        began, at = time.monotonic(), time.time()
        there = ask()
        took = time.monotonic() - began
        if took / 2 < best[1]:
            best = there - (at + took / 2), took / 2
    return best


def check_nodes(nodes: Sequence[NodeFacts], python: str, packages: dict[str, str], disk: str) -> list[Check]:
    """The nodes against each other and against this machine.

    Args:
        python, packages: of this machine. disk: `storage.ledger`.
    """
    checks: list[Check] = []
    for node in nodes:
        if node.failure:
            seen = f"{node.node} does not answer: {node.failure}"
            checks.append(bad(f"node.{node.node}", seen, "see the logs of its raylet, or take it out of the cluster"))
    answered = [node for node in nodes if not node.failure]
    for node in answered:
        checks += _check_node(node, python, packages, disk)
    if not any(check.level == "bad" for check in checks):
        gpus = sum(node.gpus for node in answered)
        checks.insert(0, ok("cluster.nodes", f"{len(answered)} nodes answer, with {gpus} GPUs"))
    return checks


def _check_node(node: NodeFacts, python: str, packages: dict[str, str], disk: str) -> list[Check]:
    name, found = f"node.{node.node}", []
    if node.python.rpartition(".")[0] != python.rpartition(".")[0]:
        seen = f"{node.node} has Python {node.python}, here it is {python}"
        found.append(bad(f"{name}.python", seen, "use the same minor version on all nodes: Ray asks for it"))
    for package, own in packages.items():
        there = node.packages.get(package, "")
        if there == own:
            continue
        seen = f"{node.node} has {package} {there or 'not installed'}, here it is {own or 'not installed'}"
        if package == "ray":
            found.append(bad(f"{name}.ray", seen, "install the same version of Ray on all nodes"))
        elif package != "taoray" or there:
            found.append(warn(f"{name}.{package}", seen, "install the same versions on all nodes"))
    if abs(node.offset_s) - node.within_s > NEAR_S:
        seen = f"{node.node}'s clock is {node.offset_s:+.1f} s from this one, within {node.within_s:.1f} s"
        level = bad if abs(node.offset_s) - node.within_s > FAR_S else warn
        found.append(level(f"{name}.clock", seen, "have a time service keep the clocks of all nodes"))
    if node.shared_bytes < LEAST_SHARED_BYTES:
        seen = f"{node.node} has {node.shared_bytes >> 20:,} MiB free in /dev/shm"
        found.append(warn(f"{name}.shared", seen, "give its container more shared memory"))
    if node.sees_home is False:
        seen = f"{node.node} does not see what this machine writes into the home"
        found.append(bad(f"{name}.home", seen, "put the home on a filesystem that all nodes mount at the same path"))
    if disk and node.disk_fault:
        seen = f"{node.node} cannot keep the ledger in {node.disk}: {node.disk_fault}"
        found.append(bad(f"{name}.disk", seen, "make the folder of storage.ledger there, writable for Ray's user"))
    if not any(check.level == "bad" for check in found):
        versions = ", ".join(f"{package} {there}" for package, there in node.packages.items() if there)
        seen = f"{node.node}: Python {node.python}, {versions}; clock {node.offset_s:+.3f} s"
        found.insert(0, ok(name, f"{seen}, within {node.within_s:.3f} s"))
    return found


def _clock() -> Callable[[], float]:
    """As a function of a function it travels by value: a node may not have taoray."""

    def clock() -> float:
        import time

        return time.time()

    return clock


def _look() -> Callable[[str, str], dict[str, Any]]:
    packages = PACKAGES

    def look(mark: str, disk: str) -> dict[str, Any]:
        import os
        import platform
        import tempfile
        from importlib import metadata

        def version(name: str) -> str:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                return ""

        folder, fault = os.path.expanduser(os.path.expandvars(disk)), ""
        if disk:
            try:
                os.makedirs(folder, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder) as file:
                    file.write(b"0")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                fault = error.strerror or str(error)
        shared = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
        return {
            "python": platform.python_version(),
            "packages": {name: version(name) for name in packages},
            "shared_bytes": shared.f_bavail * shared.f_frsize if shared else 0,
            "sees_home": os.path.exists(mark) if mark else None,
            "disk": folder,
            "disk_fault": fault,
        }

    return look

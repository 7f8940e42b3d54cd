"""Network namespaces of this machine with real addresses, joined by a bridge, whose wires can be cut.

Invariants: needs root and iproute2; names begin with `tao`, addresses are of one private network; whatever happens,
namespaces, wires and bridge are gone at the end.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

BRIDGE = "taobr"
ROUTER = "10.213.7.254"


@dataclass(frozen=True)
class Wires:
    """The namespaces by node, each with an address of its own."""

    addresses: dict[str, str]

    def within(self, node: str) -> list[str]:
        """What a command line begins with that runs in a node's namespace."""
        return ["nsenter", f"--net=/run/netns/{space_of(node)}"]

    def cut(self, node: str) -> None:
        """No packet passes between a node and the others any more."""
        ip("link", "set", self._wire(node), "down")

    def heal(self, node: str) -> None:
        """They pass again."""
        ip("link", "set", self._wire(node), "up")

    def _wire(self, node: str) -> str:
        return f"taov{list(self.addresses).index(node)}"


def space_of(node: str) -> str:
    """The name of a node's namespace."""
    return f"tao-{node}"


def ip(*arguments: str) -> None:
    """Run `ip`; RuntimeError with what it said where it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def why_not() -> str:
    """Why namespaces can't be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip") or not shutil.which("nsenter"):
        return "ip (iproute2) and nsenter (util-linux) are needed"
    try:
        ip("netns", "add", "tao-trial")
        ip("netns", "delete", "tao-trial")
    except RuntimeError as error:
        return str(error)
    return ""


@contextmanager
def wired(nodes: Sequence[str]) -> Iterator[Wires]:
    """A namespace for each node, on one bridge."""
    wires = Wires({node: f"10.213.7.{index}" for index, node in enumerate(nodes, start=1)})
    remove(nodes)
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", f"{ROUTER}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for index, node in enumerate(nodes):
            space, wire = space_of(node), f"taov{index}"
            ip("netns", "add", space)
            ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", wire, "master", BRIDGE, "up")
            for own in (
                ("address", "add", f"{wires.addresses[node]}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
                ("route", "add", "default", "via", ROUTER),
            ):
                ip("-netns", space, *own)
        yield wires
    finally:
        remove(nodes)


def remove(nodes: Sequence[str]) -> None:
    """Take away what is there; with a namespace goes its wire."""
    for index, node in enumerate(nodes):
        for arguments in (("link", "delete", f"taov{index}"), ("netns", "delete", space_of(node))):
            subprocess.run(["ip", *arguments], capture_output=True, check=False)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)

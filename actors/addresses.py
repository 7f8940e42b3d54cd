"""Which addresses a network talks to when a stranger names a host.

Invariants:
* what is checked is the address that the socket connects to, at the moment it does: a name that resolves otherwise a
  second later, a literal address, or one address dressed as another, makes no difference;
* link-local addresses and those of clouds' own services are never talked to, whatever the configuration;
* a name server that takes its time keeps nobody else waiting.
"""

import asyncio
import contextlib
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
"""As `getaddrinfo` has it: family, kind, protocol, canonical name, and address with port."""

MOST_ADDRESSES = 8
"""Addresses of one name that are tried."""

_NAT64 = IPv6Network("64:ff9b::/96")
_SERVICES = frozenset(map(ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Where clouds answer their own machines, beside link-local 169.254.169.254: Azure, Alibaba, Oracle, AWS."""


def forbidden(text: str, *, allow_private: bool) -> str:
    """Why an address is not talked to; empty if it is.

    Args:
        allow_private: whether loopback and private networks are fine.
    """
    address = _unwrap(ip_address(text.partition("%")[0]))
    if address.is_link_local:
        return "link-local"
    if address in _SERVICES:
        return "a cloud's own service"
    if address.is_unspecified or address.is_multicast:
        return "no address of one machine"
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    if allow_private or (address.is_global and not address.is_reserved and not site_local):
        return ""
    return "loopback" if address.is_loopback else "private or reserved"


def _unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4, Teredo's client, or behind NAT64."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


class Guard:
    """Makes the sockets of one client, and remembers what it refused to connect to.

    Attributes:
        refused: addresses with the reason.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self.refused: list[str] = []
        self._allow_private = allow_private

    def socket(self, info: AddressInfo) -> socket.socket:
        """A socket for an address. Raises OSError where it may not be connected to."""
        family, kind, protocol, _, address = info
        why = forbidden(str(address[0]), allow_private=self._allow_private)
        if why:
            self.refused.append(f"{address[0]} is {why}")
            raise OSError(self.refused[-1])
        return socket.socket(family, kind, protocol)


class Resolver(AbstractResolver):
    """Looks names up, each in a thread of its own that nothing waits for when its time is over.

    The event loop's own threads are few and joined at its end: a slow name server would hold up everybody.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The first addresses of a name. Raises OSError where there are none."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()
        look = threading.Thread(target=_look_up, args=(loop, found, host, port, family), daemon=True)
        look.start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=int(kind),
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in (await found)[:MOST_ADDRESSES]
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _look_up(
    loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[Any]]", host: str, port: int, family: int
) -> None:
    """Look a name up, and tell the loop unless it is gone by then."""
    infos: list[Any] = []
    failure: OSError | None = None
    try:
        infos = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except OSError as error:
        failure = error
    except UnicodeError:
        failure = OSError("is no name of a host")

    def tell() -> None:
        if found.done():
            return
        if failure is not None:
            found.set_exception(failure)
        else:
            found.set_result(infos)

    # RuntimeError: the loop ended while the name server took its time.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)

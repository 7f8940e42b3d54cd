"""Which addresses a network talks to when a stranger names a host.

Invariants:
* a name is looked up once, and the address that was checked is the one that is connected to: a name that resolves
  otherwise a second later, a number for a name, or one address dressed as another, makes no difference;
* link-local addresses and those of clouds' own services are never talked to, whatever the configuration;
* a name server that takes its time keeps nobody else waiting.
"""

import asyncio
import contextlib
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""As `getaddrinfo` has it: family, kind, protocol, canonical name, and address with port."""

ATTEMPT_S = 5.0
"""How long one of several addresses may take to let a connection in, before the next is tried."""

MOST_ADDRESSES = 8
"""Addresses of one name that are tried."""

_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""Where a network's own translator keeps IPv4 addresses, at a place that only it knows (RFC 8215)."""
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
    if address.is_unspecified or address.is_multicast or address in _LOCAL_NAT64:
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


class AddressRefused(Exception):
    """A name leads to no address that is talked to; the sentence says why."""


async def connect(host: str, port: int, *, allow_private: bool) -> socket.socket:
    """A connected socket to the first address of a host that is talked to and lets it in.

    Raises:
        AddressRefused: none of its addresses is talked to.
        OSError: the name is unknown, or nobody lets it in.
    """
    refused, failure = "", OSError("the name has no address")
    for family, kind, protocol, _, address in (await look_up(host, port))[:MOST_ADDRESSES]:
        why = forbidden(str(address[0]), allow_private=allow_private)
        if why:
            refused = refused or f"{address[0]} is {why}"
            continue
        refused = ""
        try:
            return await _connected(socket.socket(family, kind, protocol), address)
        except OSError as error:
            failure = error
    if refused:
        raise AddressRefused(refused)
    raise failure


async def _connected(made: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    made.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, address), ATTEMPT_S)
    except BaseException:
        made.close()
        raise
    return made


async def look_up(host: str, port: int) -> list[AddressInfo]:
    """The addresses of a name, looked up in a thread of its own that nothing waits for when its time is over.

    The event loop's own threads are few and joined at its end: a slow name server would hold up everybody.

    Raises:
        OSError: the name is unknown, or none.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Any]] = loop.create_future()
    threading.Thread(target=_look_up, args=(loop, found, host, port), daemon=True).start()
    return await found


def _look_up(loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[Any]]", host: str, port: int) -> None:
    """Look a name up, and tell the loop unless it is gone by then."""
    infos: list[Any] = []
    failure: OSError | None = None
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
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

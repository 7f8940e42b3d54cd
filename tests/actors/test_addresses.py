"""Which addresses are talked to, in whatever dress; and name servers that take their time."""

import asyncio
import socket
import threading

import pytest

from actors.addresses import MOST_ADDRESSES, AddressRefused, connect, forbidden, look_up

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808")
PRIVATE = (
    *("127.0.0.1", "127.255.0.3", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "192.0.2.1"),
    *("240.0.0.1", "255.255.255.255", "::1", "fc00::1", "fec0::1", "2001:db8::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2002:a00:1::"),
)
NEVER = (
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "2002:a9fe:a9fe::1"),
    *("64:ff9b::a9fe:a9fe", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"),
    *("ff02::1", "::ffff:0.0.0.0", "64:ff9b:1::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_talked_to(address: str) -> None:
    assert forbidden(address, allow_private=False) == forbidden(address, allow_private=True) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_where_that_is_allowed(address: str) -> None:
    assert forbidden(address, allow_private=False)
    assert forbidden(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_some_never(address: str) -> None:
    assert forbidden(address, allow_private=False)
    assert forbidden(address, allow_private=True)


def answering(monkeypatch: pytest.MonkeyPatch, *addresses: str, port: int = 80) -> list[str]:
    """Has every name stand for these addresses; returns what is looked up."""
    looked_up: list[str] = []

    def getaddrinfo(host: str, _port: int, **other: object) -> list[object]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


def test_nothing_is_connected_to_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        looked_up = answering(monkeypatch, "127.0.0.1", "10.0.0.1", port=server.getsockname()[1])
        with pytest.raises(AddressRefused, match="is loopback"):
            asyncio.run(connect("inside.example", 80, allow_private=False))
        with pytest.raises(BlockingIOError):
            server.accept()
        asyncio.run(connect("inside.example", 80, allow_private=True)).close()
        server.accept()[0].close()
    assert looked_up == ["inside.example"] * 2


def test_what_is_refused_is_passed_over_for_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering(monkeypatch, "169.254.1.1", "127.0.0.1", port=server.getsockname()[1])
        asyncio.run(connect("both.example", 80, allow_private=True)).close()


def test_a_slow_name_server_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def getaddrinfo(host: str, port: int, **other: object) -> list[object]:
        if host == "slow.example":
            answers.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def look() -> list[str]:
        slow = [asyncio.create_task(look_up("slow.example", 80)) for _ in range(100)]
        quick = await look_up("quick.example", 80)
        for task in slow:
            task.cancel()
        return [address[0] for *_, address in quick]

    assert asyncio.run(look()) == ["8.8.8.8"]
    assert not answers.is_set()
    answers.set()


def test_few_of_many_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answering(monkeypatch, *["127.0.0.1"] * MOST_ADDRESSES, "169.254.1.1", port=port)
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connect("many.example", 80, allow_private=True))


def test_a_name_without_addresses_is_an_error() -> None:
    for host in ("no-such-host.invalid", "a" * 64 + ".example"):
        with pytest.raises(OSError):  # noqa: PT011 (each system has its own words)
            asyncio.run(look_up(host, 80))

"""Which addresses are talked to, in whatever dress; and name servers that take their time."""

import asyncio
import socket
import threading

import pytest

from actors.addresses import MOST_ADDRESSES, Guard, Resolver, forbidden

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808")
PRIVATE = (
    *("127.0.0.1", "127.255.0.3", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "192.0.2.1"),
    *("240.0.0.1", "255.255.255.255", "::1", "fc00::1", "fec0::1", "2001:db8::1", "100::1", "64:ff9b:1::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2002:a00:1::"),
)
NEVER = (
    *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "2002:a9fe:a9fe::1"),
    *("64:ff9b::a9fe:a9fe", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"),
    *("ff02::1", "::ffff:0.0.0.0"),
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


def test_no_socket_is_made_for_what_is_refused() -> None:
    guard = Guard(allow_private=False)
    with pytest.raises(OSError, match="is loopback"):
        guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    assert guard.refused == ["127.0.0.1 is loopback"]
    guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))).close()
    assert len(guard.refused) == 1


def test_a_slow_name_server_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    address = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]

    def getaddrinfo(host: str, port: int, **other: object) -> list[object]:
        if host == "slow.example":
            answers.wait(60)
        return address

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def look_up() -> list[str]:
        slow = [asyncio.create_task(Resolver().resolve("slow.example", 80)) for _ in range(100)]
        quick = await Resolver().resolve("quick.example", 80)
        for task in slow:
            task.cancel()
        return [found["host"] for found in quick]

    assert asyncio.run(look_up()) == ["8.8.8.8"]
    assert not answers.is_set()
    answers.set()


def test_few_of_many_addresses_are_tried_and_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"8.8.{index // 256}.{index % 256}", 80)) for index in range(999)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *host, **other: many)
    assert len(asyncio.run(Resolver().resolve("many.example"))) == MOST_ADDRESSES
    monkeypatch.undo()
    with pytest.raises(OSError):  # noqa: PT011 (each system has its own words)
        asyncio.run(Resolver().resolve("no-such-host.invalid"))
    with pytest.raises(OSError, match="no name of a host"):
        asyncio.run(Resolver().resolve("a" * 64 + ".example"))

"""Who belongs to the fleet, by name servers that answer, change, hang and fail."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver

from service.policy.fleet import Member
from service.web.members import FRESH_S, MAX_MEMBERS, STALE_S, Members
from tests.web.signing import Clock

if TYPE_CHECKING:
    import pytest
    from aiohttp.abc import ResolveResult


class Names(AbstractResolver):
    """A name server that a test turns."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.fails = False
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise OSError(socket.EAI_AGAIN, "try again")
        return [
            {"hostname": host, "host": one, "port": port, "family": 0, "proto": 0, "flags": 0}
            for one in self.addresses
        ]

    async def close(self) -> None: ...


async def test_every_address_of_a_name_is_a_member() -> None:
    members = Members(["http://pods:8080"], resolver=Names("10.0.0.2", "10.0.0.1", "fd00::1%eth0"))
    assert await members.now() == [
        Member("http", "10.0.0.1", 8080, "pods"),
        Member("http", "10.0.0.2", 8080, "pods"),
        Member("http", "fd00::1", 8080, "pods"),
    ]


async def test_addresses_are_not_looked_up() -> None:
    names = Names()
    members = Members(["https://10.0.0.1", "http://[FD00::1]:81"], resolver=names)
    assert await members.now() == [
        Member("https", "10.0.0.1", 443, "10.0.0.1"),
        Member("http", "fd00::1", 81, "fd00::1"),
    ]
    assert names.asked == 0


async def test_a_name_is_looked_up_now_and_then_and_once_at_a_time() -> None:
    names, clock = Names("10.0.0.1"), Clock()
    members = Members(["http://pods:1"], resolver=names, now_s=clock)
    found = await asyncio.gather(*(members.now() for _ in range(5)))
    assert names.asked == 1
    assert len({tuple(one) for one in found}) == 1
    names.addresses = ("10.0.0.1", "10.0.0.2")
    clock.s += FRESH_S
    assert len(await members.now()) == 2
    assert names.asked == 2


async def test_a_name_server_that_fails_is_believed_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names, clock = Names("10.0.0.1"), Clock()
    members = Members(["http://pods:1"], resolver=names, now_s=clock)
    await members.now()
    names.fails = True
    clock.s += STALE_S - 1
    assert len(await members.now()) == 1
    clock.s += 1
    assert await members.now() == []
    assert "could not be looked up" in caplog.text


async def test_a_name_server_that_fails_is_asked_now_and_then() -> None:
    """Callers that wait for each other do not each wait for it to fail."""
    names, clock = Names("10.0.0.1"), Clock()
    names.fails = True
    members = Members(["http://pods:1"], resolver=names, now_s=clock)
    assert await asyncio.gather(*(members.now() for _ in range(5))) == [[]] * 5
    assert names.asked == 1
    names.fails = False
    clock.s += FRESH_S
    assert len(await members.now()) == 1


async def test_a_name_server_without_an_end_is_bounded() -> None:
    names = Names(*(f"10.0.{n >> 8}.{n & 255}" for n in range(MAX_MEMBERS + 10)))
    assert len(await Members(["http://pods:1"], resolver=names).now()) == MAX_MEMBERS

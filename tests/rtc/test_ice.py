"""Where media sockets are bound: a range, some addresses, and what is offered."""

from __future__ import annotations

import socket

import pytest
from aioice.candidate import Candidate

from service.rtc.ice import (
    MAX_QUEUED_DATAGRAMS,
    MAX_REMOTE_CANDIDATES,
    IceConnection,
    IceSettings,
    NoFreePort,
    bind_in_range,
)

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free right now."""
    for first in range(47000, 60000, count):
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                held[-1].bind((LOOPBACK, port))
        except OSError:
            continue
        else:
            return first
        finally:
            for one in held:
                one.close()
    raise AssertionError("no free ports")


def connection(ice: IceSettings) -> IceConnection:
    return IceConnection(ice=ice, alive=lambda: None, ice_controlling=False)


def test_every_port_of_the_range_is_used_and_then_it_is_over() -> None:
    first = free_ports(3)
    bound = [bind_in_range(LOOPBACK, first, first + 2) for _ in range(3)]
    try:
        ports = {one.getsockname()[1] for one in bound}
        assert ports == {first, first + 1, first + 2}
        with pytest.raises(NoFreePort, match=f"from {first} to {first + 2}"):
            bind_in_range(LOOPBACK, first, first + 2)
    finally:
        for one in bound:
            one.close()


async def test_candidates_come_from_the_range_on_the_named_addresses() -> None:
    first = free_ports(4)
    agent = connection(IceSettings(first, first + 3, addresses=(LOOPBACK, "127.0.0.2")))
    try:
        await agent.gather_candidates()
        found = [(c.host, c.type) for c in agent.local_candidates]
        assert found == [(LOOPBACK, "host"), ("127.0.0.2", "host")]
        assert all(first <= c.port <= first + 3 for c in agent.local_candidates)
    finally:
        await agent.close()


async def test_a_nat_address_is_offered_in_place_of_the_bound_one() -> None:
    first = free_ports(2)
    agent = connection(
        IceSettings(first, first + 1, addresses=(LOOPBACK,), advertised_address="203.0.113.7")
    )
    try:
        await agent.gather_candidates()
        assert [c.host for c in agent.local_candidates] == ["203.0.113.7"]
        assert agent._protocols[0].local_candidate.host == LOOPBACK
    finally:
        await agent.close()


async def test_no_free_port_costs_one_address_only() -> None:
    first = free_ports(1)
    with bind_in_range(LOOPBACK, first, first):
        agent = connection(IceSettings(first, first, addresses=(LOOPBACK, "127.0.0.2")))
        try:
            await agent.gather_candidates()
            assert [c.host for c in agent.local_candidates] == ["127.0.0.2"]
        finally:
            await agent.close()


def candidate(host: str, port: int = 5000) -> Candidate:
    return Candidate("1", 1, "udp", 1, host, port, "host")


async def test_remote_candidates_are_bounded_and_mdns_names_are_not_resolved() -> None:
    agent = connection(IceSettings(addresses=(LOOPBACK,)))
    await agent.add_remote_candidate(candidate("8a2b3c4d-0000-4000-8000-000000000000.local"))
    await agent.add_remote_candidate(None)
    for port in range(5000, 5200):
        await agent.add_remote_candidate(candidate(LOOPBACK, port))
    assert len(agent.remote_candidates) == MAX_REMOTE_CANDIDATES


async def test_datagrams_that_nobody_reads_are_bounded() -> None:
    agent = connection(IceSettings(addresses=(LOOPBACK,)))
    for _ in range(MAX_QUEUED_DATAGRAMS + 10):
        agent.data_received(b"\x80", 1)
    assert agent._queue.qsize() == MAX_QUEUED_DATAGRAMS
    assert agent.datagrams_dropped == 10

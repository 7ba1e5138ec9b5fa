"""Which of the others gets a session that does not fit here: the emptiest that has room for it, two
at most, each once; and nobody where nobody may."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from service.errors import Refused
from service.policy.fleet import Member
from service.web.overflow import FRESH_S, MOST_ASKED, Overflow
from service.web.peers import Answer, Unanswered
from service.web.problems import Problem
from tests.web.signing import Clock

if TYPE_CHECKING:
    from service.session.registry import Registry
    from service.web.peers import Peers

REFUSAL = Refused("cpu_budget", 7, cores=0.4)
REQUEST = make_mocked_request("POST", "/v1/sessions")


def member(number: int) -> Member:
    return Member("http", f"10.0.0.{number}", 8080, "pods")


class FakePeers:
    """Members by number: the cores that each says that it has free, and what it answers."""

    def __init__(self, free: dict[int, Any], statuses: dict[int, int | None] | None = None) -> None:
        self.free = {member(number): cores for number, cores in free.items()}
        self.statuses = {member(n): status for n, status in (statuses or {}).items()}
        self.hop = False
        self.rounds = 0
        self.asked: list[Member] = []
        self.tried: list[str] = []

    def came_from_peer(self, _: web.Request) -> bool:
        return self.hop

    async def others(self) -> list[Member]:
        self.rounds += 1
        return list(self.free)

    async def ask(self, one: Member, method: str, path: str, *, timeout_s: float) -> Answer:
        assert (method, path) == ("GET", "/v1/fleet/room")
        assert timeout_s <= 0.5
        self.asked.append(one)
        await asyncio.sleep(0)
        if self.free[one] is None:
            raise Unanswered
        return Answer(200, self.free[one])

    async def send(
        self, one: Member, request: web.Request, body: bytes, *, timeout_s: float
    ) -> web.Response:
        assert request is REQUEST
        assert body == b"{}"
        self.tried.append(one.address.rpartition(".")[2])
        await asyncio.sleep(0)
        status = self.statuses.get(one, 201)
        if status is None:
            raise Unanswered
        return web.Response(status=status, text=one.address)


class Counts:
    def __init__(self) -> None:
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[str] = Counter()

    def admission(self, decision: str, reason: str) -> None:
        self.decisions[decision, reason] += 1

    def fleet_passed_on(self, outcome: str) -> None:
        self.outcomes[outcome] += 1


def cores(number: object) -> dict[str, object]:
    return {"free_cores": number}


def overflow(peers: FakePeers | None, counts: Counts, clock: Clock | None = None) -> Overflow:
    return Overflow(
        registry=cast("Registry", SimpleNamespace(free_cores=0.1 + 0.2)),
        counters=counts,
        peers=cast("Peers | None", peers),
        now_s=clock or Clock(),
    )


async def test_the_emptiest_gets_it_and_the_caller_gets_its_answer() -> None:
    peers, counts = FakePeers({2: cores(0.5), 3: cores(1.5), 4: cores(0.3)}), Counts()
    answer = await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert (answer.status, answer.text) == (201, "10.0.0.3")
    assert counts.decisions == {("passed_on", "cpu_budget"): 1}
    assert counts.outcomes == {"opened": 1}


async def test_what_was_sent_there_counts_until_they_are_asked_again() -> None:
    clock, counts = Clock(), Counts()
    peers = FakePeers({2: cores(0.9), 3: cores(0.9)})
    passing = overflow(peers, counts, clock)
    for _ in range(4):  # 0.8 of each
        await passing.elsewhere(REQUEST, b"{}", REFUSAL)
    with pytest.raises(Refused):
        await passing.elsewhere(REQUEST, b"{}", REFUSAL)
    assert Counter(peers.tried) == {"2": 2, "3": 2}
    assert peers.rounds == 1
    assert counts.outcomes == {"opened": 4, "no_room": 1}
    assert counts.decisions[("rejected", "cpu_budget")] == 1
    clock.s += FRESH_S
    await passing.elsewhere(REQUEST, b"{}", REFUSAL)
    assert peers.rounds == 2


async def test_a_burst_asks_once() -> None:
    peers, counts = FakePeers({n: cores(8.0) for n in range(2, 9)}), Counts()
    passing = overflow(peers, counts)
    await asyncio.gather(*(passing.elsewhere(REQUEST, b"{}", REFUSAL) for _ in range(50)))
    assert peers.rounds == 1
    assert len(peers.asked) == 7
    assert max(Counter(peers.tried).values()) <= 8, "all alike: as many each"


async def test_of_many_a_few_are_asked() -> None:
    peers, counts = FakePeers({n: cores(1.0) for n in range(2, 200)}), Counts()
    await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert len(set(peers.asked)) == MOST_ASKED


@pytest.mark.parametrize("first", [None, 503, 422, 500])
async def test_one_that_does_not_take_it_leaves_it_to_the_next(first: int | None) -> None:
    peers = FakePeers({2: cores(1.0), 3: cores(2.0), 4: cores(0.5)}, {3: first})
    counts = Counts()
    answer = await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert answer.text == "10.0.0.2"
    assert peers.tried == ["3", "2"]


async def test_two_are_tried_and_no_more() -> None:
    peers = FakePeers({n: cores(float(n)) for n in range(2, 7)}, dict.fromkeys(range(2, 7), 503))
    counts = Counts()
    with pytest.raises(Refused) as refused:
        await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert refused.value is REFUSAL
    assert peers.tried == ["6", "5"]
    assert counts.outcomes == {"not_taken": 1}
    assert counts.decisions == {("rejected", "cpu_budget"): 1}


@pytest.mark.parametrize(
    "told", [None, {}, cores("much"), cores(None), cores(0.39), cores(float("nan"))]
)
async def test_who_does_not_say_that_there_is_room_is_not_tried(told: object) -> None:
    """Gone, of a version that does not know the question, or full."""
    peers, counts = FakePeers({2: told}), Counts()
    with pytest.raises(Refused):
        await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert peers.tried == []
    assert counts.outcomes == {"no_room": 1}


async def test_what_goes_nowhere() -> None:
    counts = Counts()
    peers = FakePeers({2: cores(9.0)})
    # A server alone; what is no new session; and what another member sent on already.
    with pytest.raises(Refused):
        await overflow(None, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    no_session = Refused("viewer_cap", 5, whom="viewer")
    with pytest.raises(Refused):
        await overflow(peers, counts).elsewhere(REQUEST, b"{}", no_session)
    peers.hop = True
    with pytest.raises(Refused):
        await overflow(peers, counts).elsewhere(REQUEST, b"{}", REFUSAL)
    assert not peers.rounds
    assert not counts.decisions
    assert not counts.outcomes


async def test_how_much_room_there_is_is_told_to_members_alone() -> None:
    peers = FakePeers({})
    with pytest.raises(Problem) as problem:
        await overflow(peers, Counts()).room(REQUEST)
    assert problem.value.kind.status == 403
    peers.hop = True
    told = await overflow(peers, Counts()).room(REQUEST)
    assert told.text == '{"free_cores": 0.3}'

"""A front before several servers, for tests: HTTP alone, one server for each session.

A session's offer goes to a server that is ready, the one that has it already if that is; whatever
else is asked of the session goes to the server that answered its last offer. Media goes straight to
the servers.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSION = re.compile(r"^/v1/sessions/([^/]+)")
OFFER = re.compile(r"^/v1/sessions/([^/]+)/rtc$")
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding")
READY_TIMEOUT_S = 2.0


@dataclass
class Front:
    """Where it is, which servers it has, and what it did."""

    http: aiohttp.ClientSession
    backends: list[str] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)
    "Session id -> the server that answered its last offer, or opened it."
    url: str = ""
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    "Method, path and status of each answer."
    _turn: int = 0

    async def ready(self) -> list[str]:
        """The servers that take work, another one first each time."""
        self._turn += 1
        start = self._turn % max(1, len(self.backends))
        order = self.backends[start:] + self.backends[:start]
        found = await asyncio.gather(*(self._is_ready(one) for one in order))
        return [one for one, is_ready in zip(order, found, strict=True) if is_ready]

    async def _is_ready(self, backend: str) -> bool:
        timeout = aiohttp.ClientTimeout(READY_TIMEOUT_S)
        try:
            async with self.http.get(f"{backend}/readyz", timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def pick(self, method: str, path: str) -> str | None:
        found = SESSION.match(path)
        home = self.homes.get(found.group(1)) if found else None
        offers = method == "POST" and (path == "/v1/sessions" or OFFER.match(path))
        if home is not None and not offers:
            return home
        ready = await self.ready()
        return home if home in ready else next(iter(ready), None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        backend = await self.pick(request.method, request.path)
        body = await request.read()
        answer = None if backend is None else await self._pass_on(backend, request, body)
        if answer is None:
            answer = web.json_response({"detail": "no server"}, status=502)
        elif (offered := OFFER.match(request.path)) and answer.status == 201:
            self.homes[offered.group(1)] = backend or ""
        self.answered.append((request.method, request.path, answer.status))
        return answer

    async def _pass_on(
        self, backend: str, request: web.Request, body: bytes
    ) -> web.Response | None:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        try:
            async with self.http.request(
                request.method, f"{backend}{request.path_qs}", data=body, headers=headers
            ) as answer:
                content = await answer.read()
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
                if request.path == "/v1/sessions" and answer.status == 201:
                    self.homes[(await answer.json())["id"]] = backend
                return web.Response(status=answer.status, body=content, headers=kept)
        except aiohttp.ClientError:
            return None


async def _blank(_: web.Request) -> web.Response:
    """A page of the service's origin with nothing on it."""
    return web.Response(text="<!doctype html><link rel=icon href=data:>", content_type="text/html")


@asynccontextmanager
async def front(*backends: str, kind: type[Front] = Front) -> AsyncIterator[Front]:
    # Development mode knows 127.0.0.1, and none of the other addresses of this machine.
    async with aiohttp.ClientSession(headers={"Host": "localhost"}) as http:
        made = kind(http, list(backends))
        app = web.Application()
        app.router.add_get("/blank", _blank)
        app.router.add_route("*", "/{path:.*}", made.handle)
        async with TestServer(app, host="127.0.0.1") as server:
            made.url = f"http://127.0.0.1:{server.port}"
            yield made

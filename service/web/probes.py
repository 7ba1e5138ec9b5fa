"""What operators ask: is it alive, does it take work, what does it cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from service.web.problems import NOT_READY, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.session.registry import Registry
    from service.web.access import Access
    from service.web.peers import Peers


class Scraped(Protocol):
    """The metrics, as they are read."""

    def exposition(self) -> tuple[bytes, str]: ...


class Cpu(Protocol):
    """The CPU budget and its use."""

    @property
    def quota_cores(self) -> float: ...
    def load_ratio(self) -> float: ...


class Probes:
    """The handlers of /healthz, /readyz, /metrics and /v1/server."""

    def __init__(
        self,
        *,
        registry: Registry,
        access: Access,
        metrics: Scraped,
        cpu: Cpu,
        capacity: Callable[[], float],
        started: Callable[[], bool],
        peers: Peers | None = None,
    ) -> None:
        self._registry = registry
        self._access = access
        self._metrics = metrics
        self._cpu = cpu
        self._capacity = capacity
        self._started = started
        self._peers = peers

    async def healthz(self, _: web.Request) -> web.Response:
        """The event loop turns: nothing else is asked of a live process."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """503 only while starting or draining. A full service is ready: its own sessions'
        requests must still reach it, and new ones are refused by POST itself."""
        if self._registry.draining:
            raise Problem(NOT_READY, "draining", headers={"Retry-After": "5"})
        if not self._started():
            raise Problem(NOT_READY, "starting", headers={"Retry-After": "1"})
        return web.Response(text="ready\n")

    async def metrics(self, _: web.Request) -> web.Response:
        """The Prometheus text. Made off the event loop: it takes milliseconds."""
        if self._peers is not None:
            await self._peers.look_up()
        body, content_type = await asyncio.to_thread(self._metrics.exposition)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def server(self, request: web.Request) -> web.Response:
        """GET /v1/server: the figures of this server, for the page's CPU graph."""
        self._access.caller(request)
        return web.json_response(await self.figures())

    async def figures(self) -> dict[str, object]:
        """The figures of this server."""
        return {
            "cpu_load_ratio": round(await asyncio.to_thread(self._cpu.load_ratio), 4),
            "cpu_quota_cores": self._cpu.quota_cores,
            "sessions": len(self._registry.sessions()),
            "capacity_ratio": round(self._capacity(), 4),
            "development": self._access.development,
        }

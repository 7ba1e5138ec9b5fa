"""How long a connection may take to say what it wants: aiohttp itself has no limit for that.

A client that sends a request's head byte by byte, or nothing at all, would hold a connection for
an hour. `Patience` stands between the transport and aiohttp's protocol. It counts from the
connection, and later from the first byte after an answer, to a request whose head is whole, and
ends the connection when that takes too long. A body has limits of its own (bodies.py), and one
that is silent between two requests is kept for KEEP_ALIVE_S.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from service.web.headers import put
from service.web.problems import BAD_REQUEST, Problem

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from aiohttp.typedefs import Handler

logger = logging.getLogger(__name__)

HEAD_TIMEOUT_S: Final = 15.0
KEEP_ALIVE_S: Final = 75.0
"""Above the minute for which balancers keep theirs: the one who reuses it should be the one who
closes it."""
TLS_TIMEOUT_S: Final = 10.0
"""For the handshake."""
BACKLOG: Final = 128


class Patience(asyncio.Protocol):
    """One connection, whose protocol is another one."""

    def __init__(self, inner: asyncio.Protocol, head_timeout_s: float) -> None:
        self._inner = inner
        self._head_timeout_s = head_timeout_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0

    @contextmanager
    def served(self) -> Iterator[None]:
        """While a request is worked on, however long that takes."""
        self._requests += 1
        self._stop()
        try:
            yield
        finally:
            self._requests -= 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._start()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._requests and self._timer is None:
            self._start()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._head_timeout_s, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self._transport is not None:
            self._transport.abort()


class Protocol(web.RequestHandler):
    """aiohttp's own, but for what it answers to bytes that are no request: a problem as any other,
    and no traceback in the log, which would quote what a client sent."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        logger.info("what came is no HTTP request: %s", type(exc).__name__)
        detail = "it is no HTTP request, or its first line or a header is too long"
        response = Problem(BAD_REQUEST, detail).response()
        put(response)
        response.force_close()
        return response


@web.middleware
async def patient(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware, the outermost: the head of a request is here."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    if not isinstance(protocol, Patience):
        return await handler(request)
    with protocol.served():
        return await handler(request)


class Site(web.BaseSite):
    """Where the application listens."""

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=BACKLOG)
        self._host = host
        self._port = port
        self._head_timeout_s = head_timeout_s

    @property
    def name(self) -> str:
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None, "the runner is set up"

        def connect() -> Patience:
            inner = Protocol(
                server,
                loop=loop,
                access_log=None,  # type: ignore[arg-type]
                keepalive_timeout=KEEP_ALIVE_S,
                # Encoded bodies are refused: inflating one would be work on the loop, of any size.
                auto_decompress=False,
            )
            return Patience(inner, self._head_timeout_s)

        self._server = await loop.create_server(
            connect,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=None if self._ssl_context is None else TLS_TIMEOUT_S,
            backlog=self._backlog,
        )

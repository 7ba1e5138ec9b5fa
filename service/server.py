"""Runs the service: a listening server, from its settings until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
from aiohttp import web

from service.errors import SettingsError
from service.memory import Returning
from service.parts import Parts
from service.session.events import Kind
from service.web.connections import Site

if TYPE_CHECKING:
    from service.metrics import Metrics
    from service.settings import Settings

logger = logging.getLogger(__name__)

LAG_INTERVAL_S = 0.25
SHUTDOWN_TIMEOUT_S = 5.0
WEBHOOK_FLUSH_S = 5.0
"""So long a server that stops tries to deliver what waits."""
TRACES_FLUSH_S = 2.0
PICTURE_THREADS = 2
"""Decoding of uploaded and built-in pictures; frames have threads of their own."""
THREADS_TIMEOUT_S = 5.0
"""For all of them to start."""


async def serve(settings: Settings) -> None:
    """Listen until SIGTERM, then refuse and wait while clients move; end what is left, and return.
    SIGINT, or a second SIGTERM, does not wait for them."""
    loop = asyncio.get_running_loop()
    # Each track's job runs on one thread; OpenCV's own pool would fight with the others.
    cv2.setNumThreads(1)
    loop.set_default_executor(threads(PICTURE_THREADS, "pictures"))
    stopping, at_once = asyncio.Event(), asyncio.Event()

    def stop(*, now: bool) -> None:
        if now or stopping.is_set():
            at_once.set()
        stopping.set()

    loop.add_signal_handler(signal.SIGTERM, lambda: stop(now=False))
    loop.add_signal_handler(signal.SIGINT, lambda: stop(now=True))
    parts = Parts.make(settings)
    runner = web.AppRunner(
        parts.app, shutdown_timeout=SHUTDOWN_TIMEOUT_S, handle_signals=False, access_log=None
    )
    await runner.setup()
    returning = Returning()
    parts.registry.feed.hook(
        lambda event: returning.freed() if event.kind is Kind.ENDED else None,
    )
    site = Site(runner, settings.host, settings.port, ssl_context=_tls(settings))
    watching = [
        asyncio.create_task(work)
        for work in (
            _measure_lag(parts.metrics),
            parts.load.run(),
            parts.quality.run(),
            parts.pictures.run(parts.registry.scenes),
            returning.run(),
            *([parts.key_set.run()] if parts.key_set is not None else []),
        )
    ]
    if parts.outbox is not None:
        watching.append(asyncio.create_task(parts.outbox.run()))
    try:
        await _start(site, settings)
        scheme = "http" if settings.tls_cert is None else "https"
        address = runner.addresses[0]
        logger.info("ready on %s://%s:%d", scheme, _host(address[0]), address[1])
        await stopping.wait()
        logger.info("stopping: no new sessions, %d are to move", len(parts.registry.sessions()))
        await parts.registry.let_move(settings.drain_s, at_once)
    finally:
        # Unready and refusing first, then the sessions, then the sockets; and the platform hears
        # of the sessions' end.
        await parts.registry.drain()
        await runner.cleanup()
        if parts.outbox is not None:
            await parts.outbox.flush(WEBHOOK_FLUSH_S)
        if parts.traces is not None:
            await asyncio.to_thread(parts.traces.close, TRACES_FLUSH_S)
        for task in watching:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*watching)
        parts.workers.shutdown(wait=True)


async def _start(site: Site, settings: Settings) -> None:
    """Listen; raises SettingsError where that cannot be."""
    try:
        await site.start()
    except OSError as exc:
        nowhere = isinstance(exc, socket.gaierror) or exc.errno == errno.EADDRNOTAVAIL
        name = "HOST" if nowhere else "PORT"
        where = f"{_host(settings.host)}:{settings.port}"
        raise SettingsError(f"BACKCLOTH_{name}: cannot listen on {where}: {exc}") from exc


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as exc:  # ssl.SSLError is one
        raise SettingsError(
            f"BACKCLOTH_TLS_KEY: cannot be used with BACKCLOTH_TLS_CERT: {exc}"
        ) from exc
    return context


async def _measure_lag(metrics: Metrics) -> None:
    """How late the loop runs a timer: CPU work on it, or a loop that is full."""
    while True:
        due_s = time.monotonic() + LAG_INTERVAL_S
        await asyncio.sleep(LAG_INTERVAL_S)
        metrics.loop_lag(max(0.0, time.monotonic() - due_s))


def threads(count: int, name: str) -> ThreadPoolExecutor:
    """A pool with all its threads: one that came with the first busy moment would look like one
    that was left behind. Raises RuntimeError where they do not all start."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    # Bounded: those that have started must not wait for ever for one that has not.
    together = threading.Barrier(count, timeout=THREADS_TIMEOUT_S)
    for each in [pool.submit(together.wait) for _ in range(count)]:
        each.result()
    return pool

"""What is read of a server's /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from loadtest import watch
from loadtest.results import Level
from loadtest.server import Server
from loadtest.watch import Metrics, Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = """# TYPE backcloth_sessions gauge
backcloth_sessions{state="live"} 2.0
backcloth_sessions{state="created"} 1.0
# TYPE backcloth_frames_dropped_total counter
backcloth_frames_dropped_total{reason="overload"} 5.0
backcloth_frames_dropped_total{reason="newer_frame"} 1.0
# TYPE backcloth_quality_level gauge
backcloth_quality_level{level="full"} 2.0
# TYPE backcloth_event_loop_lag_seconds histogram
"""


def lags(*counts: int) -> str:
    """A page with cumulative counts up to 1, 5 and 10 ms, and of all."""
    edges = ("0.001", "0.005", "0.01", "+Inf")
    return PAGE + "".join(
        f'backcloth_event_loop_lag_seconds_bucket{{le="{edge}"}} {count}.0\n'
        for edge, count in zip(edges, counts, strict=True)
    )


def test_totals_and_labels() -> None:
    found = Metrics(PAGE)
    assert found.total(watch.SESSIONS) == 3
    assert found.total("nothing") is None
    assert found.by(watch.QUALITY, "level") == {"full": 2}
    assert found.by("nothing", "level") == {}


@pytest.mark.parametrize(
    ("after", "share", "ms"),
    [
        ((190, 200, 200, 200), 0.5, 1),
        ((180, 199, 200, 200), 0.99, 5),
        ((150, 190, 200, 200), 0.99, 10),
        ((100, 100, 100, 200), 0.5, 10),  # beyond the last edge: that edge
    ],
)
def test_loop_lag_is_that_between_two_scrapes(
    after: tuple[int, ...], share: float, ms: float
) -> None:
    before = Metrics(lags(100, 100, 100, 100))
    assert watch.lag_ms(before, Metrics(lags(*after)), share) == pytest.approx(ms)


def test_no_timer_no_lag() -> None:
    same = Metrics(lags(100, 100, 100, 100))
    assert watch.lag_ms(same, same, 0.5) is None
    assert watch.lag_ms(None, same, 0.5) is None
    assert watch.lag_ms(Metrics(PAGE), Metrics(PAGE), 0.5) is None


def test_drops_are_those_between_two_scrapes() -> None:
    later = PAGE.replace('"overload"} 5', '"overload"} 9')
    assert watch.dropped(Metrics(PAGE), Metrics(later)) == {"overload": 4}
    assert watch.dropped(None, Metrics(later)) == {}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE)

    async def broken(_request: web.Request) -> web.Response:
        return web.Response(text='backcloth_sessions{state="live 2.0')

    app = web.Application()
    app.router.add_get("/metrics", page)
    app.router.add_get("/broken/metrics", broken)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_a_level(url: str) -> None:
    async with ClientSession() as http:
        assert await Watch(http, Server(url, None), scrape=True).level() == Level(
            rss_bytes=None, threads=None, files=None, sessions=3
        )
        assert (await Watch(http, Server(url, None), scrape=False).take()).metrics is None


@pytest.mark.parametrize("path", ["/broken", "/missing", "gone"])
async def test_what_cannot_be_read_is_none(url: str, path: str) -> None:
    where = "http://127.0.0.1:9" if path == "gone" else url + path
    async with ClientSession() as http:
        sample = await Watch(http, Server(where, None), scrape=True).take()
    assert sample.metrics is None

"""Servers that go away under live calls of client.js: told to stop, one after the other, or killed.

Two servers, whose APIs have addresses of their own, are behind one front; several calls are in one
page. A gap is
the longest time between two pictures of a call that the browser showed, and every picture shown
must have the colour of the effect in the room's place, or be the placeholder: the camera never.
A machine that does other work starves servers and browser for seconds, so the times are bounded
loosely; with BACKCLOTH_TEST_QUIET=1 by what a quiet machine is asked for. They are printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.front import Front, front
from tests.browser.visitor import Visitor, visit
from tests.running import free_port, running

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

CALLS = 8
# Longest without a picture.
QUIET = os.environ.get("BACKCLOTH_TEST_QUIET") == "1"
LONGEST_GAP_OF_A_MOVE_S = 0.5 if QUIET else 20.0
LONGEST_GAP_OF_A_DEATH_S = 3.0 if QUIET else 20.0
MOST_TAKEN_FOR_DEAD = 0 if QUIET else 3
SETTLE_S = 60
ADDRESSES = ("127.0.0.2", "127.0.0.3")
SHARED = {
    "TOKEN_SECRETS": "s" * 32,
    "MAX_SESSIONS": "40",
    "CPU_CORES": "20",
    "LOWEST_QUALITY": "full",
    "DRAIN_S": "60",
}
EFFECT = {"type": "color", "color": "#b42828"}
# Every call of the page, and what was seen of it.
CALLERS = """
async ([count, effect]) => {
  const { start } = await import("/client.js");
  const camera = await navigator.mediaDevices.getUserMedia(
    { video: { width: 320, height: 180, frameRate: 10 } });
  globalThis.calls = [];
  globalThis.strangers = [];
  const canvas = new OffscreenCanvas(8, 8);
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const corner = (video) => {
    paint.clearRect(0, 0, 8, 8);
    paint.drawImage(video, 0.03 * video.videoWidth, 0.05 * video.videoHeight,
      0.17 * video.videoWidth, 0.4 * video.videoHeight, 0, 0, 8, 8);
    const [red, green, blue, alpha] = paint.getImageData(4, 4, 1, 1).data;
    return alpha === 0 ? null : [red, green, blue];
  };
  const near = (seen, wanted) => seen.every((each, at) => Math.abs(each - wanted[at]) < 40);
  const call = async (number) => {
    const video = Object.assign(document.createElement("video"),
      { muted: true, autoplay: true, width: 80, height: 45 });
    document.body.append(video);
    const seen = { number, frames: 0, longestMs: 0, atMs: 0, moves: 0, states: [], errors: [] };
    const processed = await start(camera, {
      effect,
      onState: ({ state, message }) =>
        seen.states.push(message ? `${state}: ${message}` : state),
    });
    processed.addEventListener("happened", ({ detail }) =>
      detail.type === "session.move" && (seen.moves += 1));
    processed.addEventListener("error", ({ detail }) => seen.errors.push(detail.message));
    video.srcObject = processed.stream;
    const look = () => {
      const now = performance.now();
      video.requestVideoFrameCallback(look);
      const color = corner(video);
      if (color === null) return;
      const placeholder = near(color, [59, 64, 72]) && processed.state !== "live";
      if (!near(color, [180, 40, 40]) && !near(color, [59, 64, 72])) {
        strangers.push([number, ...color]);
      }
      if (!placeholder && near(color, [180, 40, 40])) {
        if (seen.atMs) seen.longestMs = Math.max(seen.longestMs, now - seen.atMs);
        seen.atMs = now;
        seen.frames += 1;
      }
    };
    video.requestVideoFrameCallback(look);
    await video.play();
    calls.push({ seen, processed });
  };
  for (let number = 0; number < count; number += 1) await call(number);
}
"""


def settings_of(address: str) -> dict[str, str]:
    return {**SHARED, "HOST": address}


async def both_running(stack: ExitStack, ports: dict[str, int]) -> list[Service]:
    """The servers, started at the same time."""
    starting = [running(port, **settings_of(address)) for address, port in ports.items()]
    return await asyncio.gather(*(asyncio.to_thread(stack.enter_context, one) for one in starting))


async def call(context: BrowserContext, before: Front, count: int) -> Visitor:
    """So many calls, all live, whose gaps are counted from now on."""
    visitor = await visit(context, before.url)
    await visitor.open("blank")
    await visitor.page.evaluate(CALLERS, [count, EFFECT])
    await visitor.until("calls.every(({ seen }) => seen.frames > 10)")
    await visitor.page.evaluate("calls.forEach(({ seen }) => { seen.longestMs = 0; })")
    return visitor


async def seen(visitor: Visitor) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await visitor.page.evaluate("calls.map(({ seen }) => seen)")
    return found


async def more_pictures(visitor: Visitor) -> None:
    """All calls show some more."""
    await visitor.page.evaluate("calls.forEach(({ seen }) => { seen.mark = seen.frames; })")
    await visitor.until("calls.every(({ seen }) => seen.frames > seen.mark + 10)")


async def sessions(before: Front, server: Service) -> list[dict[str, Any]]:
    async with before.http.get(f"{server.url}/v1/sessions") as answer:
        found: list[dict[str, Any]] = (await answer.json())["sessions"]
        return found


async def raw_frames(before: Front, server: Service) -> float:
    async with before.http.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (line,) = [each for each in lines if each.startswith("backcloth_raw_frames_total ")]
    return float(line.split()[1])


async def test_a_rolling_restart_loses_no_call(context: BrowserContext) -> None:
    ports = {address: free_port() for address in ADDRESSES}
    with ExitStack() as stack:
        started = dict(zip(ADDRESSES, await both_running(stack, ports), strict=True))
        async with front(*(one.url for one in started.values())) as before:
            visitor = await call(context, before, CALLS)
            for address in ADDRESSES:
                old = started[address]
                assert await sessions(before, old)
                assert await raw_frames(before, old) == 0
                old.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(old.process.wait, SETTLE_S) == 0
                # The log has one line a second of a kind.
                assert [line for line in old.lines if "ended: moved" in line]
                assert not [line for line in old.lines if "ended: drained" in line]
                assert not [line for line in old.lines if "did not move" in line]
                if address != ADDRESSES[-1]:  # the last one's calls are on the first one again
                    started[address] = await asyncio.to_thread(
                        stack.enter_context, running(ports[address], **settings_of(address))
                    )
                await more_pictures(visitor)
            calls = await seen(visitor)
            gaps_s = [each["longestMs"] / 1e3 for each in calls]
            sys.stderr.write(f"longest gaps: {sorted(round(gap, 3) for gap in gaps_s)} s\n")
            told = [each["states"] for each in calls]
            assert all(states[-1] == "live" for states in told), told
            # Nobody notices a move. A machine that starves a server for seconds has it taken for
            # dead, and the call goes on at the other one.
            assert told.count(["connecting", "live"]) >= CALLS - MOST_TAKEN_FOR_DEAD, told
            assert all(each["moves"] >= 1 for each in calls)
            assert [each["errors"] for each in calls] == [[]] * CALLS
            assert await visitor.page.evaluate("strangers") == []
            assert max(gaps_s) <= LONGEST_GAP_OF_A_MOVE_S
            # Each is on one server, and the servers' own counts say the same of raw frames.
            assert len(await sessions(before, started[ADDRESSES[0]])) == CALLS
            assert await raw_frames(before, started[ADDRESSES[0]]) == 0
            await visitor.page.goto("about:blank")


async def test_a_killed_servers_calls_go_on_at_the_other(context: BrowserContext) -> None:
    ports = {address: free_port() for address in ADDRESSES}
    with ExitStack() as stack:
        servers = await both_running(stack, ports)
        async with front(*(one.url for one in servers)) as before:
            visitor = await call(context, before, 2)
            # Not what the tokens were minted with.
            await visitor.page.evaluate(
                """Promise.all(calls.map(({ processed }) => processed.setEffect(
                  { type: "color", color: "#b42828", edge: 0.9 })))"""
            )
            for server in servers:
                if await sessions(before, server):
                    server.kill()
                    break
            await visitor.until("calls.some(({ seen }) => seen.states.length > 2)")
            await visitor.until("calls.every(({ processed }) => processed.state === 'live')")
            await more_pictures(visitor)
            calls = await seen(visitor)
            gaps_s = [each["longestMs"] / 1e3 for each in calls]
            sys.stderr.write(f"longest gaps: {sorted(round(gap, 3) for gap in gaps_s)} s\n")
            assert await visitor.page.evaluate("strangers") == []
            assert max(gaps_s) <= LONGEST_GAP_OF_A_DEATH_S
            left = next(one for one in servers if one.process.poll() is None)
            there = await sessions(before, left)
            assert len(there) == len(calls)
            assert [each["effect"]["edge"] for each in there] == [0.9] * len(there)
            assert await raw_frames(before, left) == 0
            await visitor.page.goto("about:blank")

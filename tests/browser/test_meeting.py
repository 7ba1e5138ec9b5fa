"""examples/meeting end to end: two people in real browsers, and a service that is killed.

How long they see nothing of each other then is printed, and bounded as in test_moves.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from tests.browser.axe import objections
from tests.browser.camera_film import ROOM
from tests.browser.meeting import GAPS, WEBHOOK_SECRET, front, sessions
from tests.browser.test_effects import BOOKS, GREEN
from tests.browser.test_moves import LONGEST_GAP_OF_A_DEATH_S
from tests.browser.visitor import part, visit

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.browser.meeting import Platform
    from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# The own processed picture, and the other person's.
VIDEOS = ("self", "other")
NEAR = 40
# A death is noticed after 0.9 s (client.js, SILENCE_MS) or, by a connection that breaks, sooner.
SHORTEST_GAP_S = 0.2

# What the other person's page gets, looked at for as long as the page lives: of the shelf with the
# books the pattern must never be seen, whatever is shown in its place.
WATCH = """(box) => {
  document.querySelector("video.other").id = "other";
  globalThis.seen = { looks: 0, spread: 0 };
  setInterval(() => {
    const found = look("other", box);
    if (!found) return;
    seen.looks += 1;
    seen.spread = Math.max(seen.spread, found.spread);
  }, 40);
}"""

RAW_SPREAD = """async (box) => {
  const video = Object.assign(document.createElement("video"), { id: "raw", muted: true });
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  document.body.append(video);
  await video.play();
  await until(() => look("raw", box)?.spread > 20);
  return look("raw", box).spread;
}"""


async def join(context: BrowserContext, url: str) -> Visitor:
    visitor = await visit(context, url)
    await visitor.page.goto(f"{url}/?room=sales")
    await visitor.page.evaluate("globalThis.first = true")
    await visitor.page.get_by_role("button", name="Join").click()
    await status(visitor, "Live")
    return visitor


async def status(visitor: Visitor, words: str) -> None:
    await visitor.page.get_by_role("status").filter(has_text=words).wait_for(timeout=60_000)


async def until_green(visitor: Visitor) -> None:
    condition = 'distance(look("other", box), green) < 24'
    await visitor.until(condition, box=part(ROOM), green=GREEN)


async def more_frames(visitor: Visitor) -> None:
    """Processed ones, of both videos."""
    await visitor.page.evaluate("Object.values(gaps).forEach((gap) => { gap.mark = gap.frames; })")
    await visitor.until("Object.values(gaps).every((gap) => gap.frames > gap.mark + 10)")


async def test_two_people_see_each_other_processed_also_while_a_service_dies(
    meeting: Platform, context: BrowserContext, axe: str
) -> None:
    async with front(meeting.front_port, meeting.first.port) as door:
        one = await join(context, meeting.url)
        assert await objections(one.page, axe) == []
        two = await join(context, meeting.url)
        for each in (one, two):
            await each.page.locator("video.other").wait_for()
            await each.page.evaluate(WATCH, part(BOOKS))
            await until_green(each)
            await each.page.evaluate(GAPS, [VIDEOS, part(ROOM), GREEN, NEAR])
        assert await objections(two.page, axe) == []
        for each in (one, two):
            await more_frames(each)
            await each.page.evaluate("Object.values(gaps).forEach((gap) => { gap.longestMs = 0; })")

        meeting.first.kill()
        door.behind = meeting.second.port
        # The signed token opens each session again at the other service.
        assert {each["metadata"]["room"] for each in await sessions(meeting)} == {"sales"}
        gaps_s = []
        for each in (one, two):
            await status(each, "Live")
            await until_green(each)
            await more_frames(each)
            gaps = await each.page.evaluate("gaps")
            gaps_s += [round(gaps[video]["longestMs"] / 1e3, 3) for video in VIDEOS]
        sys.stderr.write(f"longest gaps ({', '.join(VIDEOS)} of each): {gaps_s} s\n")
        for each in (one, two):
            raw = await each.page.evaluate(RAW_SPREAD, part(BOOKS))
            looks, spread = await each.page.evaluate("[seen.looks, seen.spread]")
            assert looks > 10
            assert spread < raw / 2
            assert await each.page.evaluate("first"), "the page was loaded again"
        # Somebody was away, or nothing was measured.
        assert min(gaps_s) > SHORTEST_GAP_S
        assert max(gaps_s) <= LONGEST_GAP_OF_A_DEATH_S

        await two.page.get_by_role("button", name="Leave").click()
        await one.page.locator("video.other").wait_for(state="detached")
        await status(two, "Not joined")


async def test_webhooks_are_believed_by_their_signature_alone(
    meeting: Platform, context: BrowserContext
) -> None:
    async with front(meeting.front_port, meeting.first.port):
        one = await visit(context, meeting.url)
        live = "webhook: session.live"
        told = one.page.wait_for_event("console", lambda each: each.text == live, timeout=60_000)
        heard = asyncio.ensure_future(told)
        await one.page.goto(f"{meeting.url}/?room=hooks")
        await one.page.get_by_role("button", name="Join").click()
        await heard

    body = json.dumps({"type": "session.ended", "data": {"metadata": {}}})
    now = datetime.now(UTC)
    signature = Webhook(WEBHOOK_SECRET).sign("msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}

    def send(signature: str) -> int:
        request = urllib.request.Request(
            f"{meeting.url}/hooks",
            data=body.encode(),
            headers={**headers, "webhook-signature": signature},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as refused:
            return refused.code

    assert await asyncio.to_thread(send, signature) == 204
    assert await asyncio.to_thread(send, "v1," + "A" * 43 + "=") == 401

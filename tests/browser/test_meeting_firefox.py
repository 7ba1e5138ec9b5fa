"""examples/meeting end to end in Firefox, which has VP8 alone here; driven by Node over BiDi."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.camera_film import ROOM
from tests.browser.meeting import GAPS, front, sessions
from tests.browser.test_effects import GREEN
from tests.browser.test_meeting import NEAR, SHORTEST_GAP_S
from tests.browser.test_moves import LONGEST_GAP_OF_A_DEATH_S
from tests.browser.visitor import part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.meeting import Platform

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

FIREFOX_SCRIPT = Path(__file__).parent / "npm" / "firefox_meeting.mjs"
FIREFOX_TIMEOUT_S = 200
WATCHED = json.dumps([["other"], part(ROOM), GREEN, NEAR])


async def test_two_people_in_firefox_also_while_a_service_dies(
    meeting: Platform, npm_modules: Path
) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("no Firefox on this machine")
    async with (
        asyncio.timeout(FIREFOX_TIMEOUT_S),
        front(meeting.front_port, meeting.first.port) as door,
        node(str(FIREFOX_SCRIPT), str(npm_modules), firefox, meeting.url, GAPS, WATCHED) as script,
    ):
        assert script.stdin is not None
        assert script.stdout is not None
        assert await script.stdout.readline() == b"live\n"
        meeting.first.kill()
        door.behind = meeting.second.port
        await sessions(meeting)
        script.stdin.write(b"another service\n")
        seen = json.loads(await script.stdout.readline())
        assert seen["looks"] > 10
        # Between green and the placeholder's grey a codec may pass through a blend of the two.
        assert seen["worst"] < 60
        assert seen["same"]
        gap_s = seen["gap"]["longestMs"] / 1e3
        sys.stderr.write(f"longest gap of the other's picture: {gap_s:.3f} s\n")
        assert SHORTEST_GAP_S < gap_s <= LONGEST_GAP_OF_A_DEATH_S


@asynccontextmanager
async def node(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Node in a group of its own, so that the browser goes with it. stderr is pytest's to show."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, stdin=pipe, stdout=pipe, start_new_session=True
    )
    try:
        yield process
        assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

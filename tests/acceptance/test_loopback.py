"""Real clips with an exact alpha go through the real service and are judged picture by picture.

Every returned picture is compared with the alpha of the very frame it was made from. A band of
12 px around the edge is left out. `python -m tests.acceptance.report` prints the whole table.
"""

from __future__ import annotations

import asyncio
import statistics
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from loadtest.clip import Codec
from tests.acceptance.mattes import MatteClip, Verdict, mattes, table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.running import Service

pytestmark = [pytest.mark.media, pytest.mark.peer, pytest.mark.model]

SECONDS = 3.0
VP8_CLIPS = 4
LEAST_HIDDEN = 0.94
LEAST_MEAN_HIDDEN = 0.98
LEAST_MEAN_KEPT = 0.97
LEAST_RETURNED = 24 / 25
REPLAYS = 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8], ids=lambda codec: codec.value)
async def test_the_room_stays_hidden_and_the_person_stays(
    service: Service, media: Path, codec: Codec
) -> None:
    videos = mattes(media)
    assert videos, "no clips with an alpha"
    found: list[Verdict] = []
    for video in videos if codec is Codec.H264 else videos[:VP8_CLIPS]:
        clip = await asyncio.to_thread(MatteClip.load, video, SECONDS)
        verdict = await clip.judge(service.url, codec)
        for _ in range(REPLAYS):
            if verdict.returned >= LEAST_RETURNED:
                break
            # A machine that is busy with something else costs frames: those get another chance,
            # what was seen does not.
            again = await clip.judge(service.url, codec)
            verdict = replace(
                again,
                hidden=min(again.hidden, verdict.hidden),
                kept=min(again.kept, verdict.kept),
            )
        found.append(verdict)
    text = table(found)
    assert min(one.hidden for one in found) >= LEAST_HIDDEN, text
    assert statistics.mean(one.hidden for one in found) >= LEAST_MEAN_HIDDEN, text
    assert statistics.mean(one.kept for one in found) >= LEAST_MEAN_KEPT, text
    assert min(one.returned for one in found) >= LEAST_RETURNED, text


def test_no_frame_reached_the_gate_raw(service: Service) -> None:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    assert "backcloth_raw_frames_total 0.0" in lines

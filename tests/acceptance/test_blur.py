"""What a blurred room still tells: nothing that can be read, at any strength.

Method. The test person stands in front of a wall of random letters, 1/20 to 1/5 of the picture's
height, black on white, lit evenly: as readable as text gets. Three bounds hold for what comes back,
for the very first picture and for the mean of all pictures of the last second (a still wall may be
averaged):

1. likeness: normalised cross-correlation of each line's detail (all that is finer than a letter)
   with the detail of the same line on the wall; 1 is the wall itself, and a clear camera gives .8;
2. stroke contrast: how much darker ink is than the gaps beside it, median over the letters;
3. matching: each line is compared with the right string and 24 random ones of equal length, drawn
   in the same type at the same place. Over all lines of a strength the right one must not win more
   often than blind guessing does (99.9 % bound).

The wall as it was sent is read by the same matcher without a fault; the test checks that first.
Not claimed: that somebody who knows the few texts that could hang there, and undoes the blur as a
filter, can't tell which of the larger ones it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtest import clip as clips
from loadtest import scene
from tests.acceptance.streaming import Journey, send
from tests.acceptance.textwall import (
    PERSON_CENTRE,
    Reading,
    Wall,
    draw_wall,
    most_by_chance,
    read_lines,
    summary,
)

if TYPE_CHECKING:
    from tests.running import Service

pytestmark = [pytest.mark.peer, pytest.mark.model]

WIDTH, HEIGHT, FPS = 640, 360, 25
FRAMES = 45
AVERAGED_FRAMES = 25
WALL_SEEDS = (1, 2)
BITRATE_BPS = 4_000_000
MOST_LIKENESS = 0.12
MOST_STROKE_LEVELS = 6.0


def film_of(wall: Wall) -> clips.EncodedClip:
    pictures = [
        clips.picture_of(rgb) for rgb in scene.swaying(wall.rgb, FRAMES, FPS, centre=PERSON_CENTRE)
    ]
    return clips.encode(pictures, clips.Codec.H264, FPS, bitrate_bps=BITRATE_BPS)


def readings_of(wall: Wall, journey: Journey, seed: int) -> list[Reading]:
    """Of the first picture, and of the mean of the last ones."""
    last = [back.luma for back in journey.pictures[-AVERAGED_FRAMES:]]
    mean = np.stack(last).astype(np.float32).mean(axis=0, keepdims=True)[0]
    return [
        *read_lines(wall, journey.pictures[0].luma, seed),
        *read_lines(wall, mean, seed + 1),
    ]


@pytest.mark.parametrize("seed", WALL_SEEDS)
def test_the_reader_can_read(seed: int) -> None:
    wall = draw_wall(WIDTH, HEIGHT, seed)
    noisy = next(scene.swaying(wall.rgb, 1, FPS, centre=PERSON_CENTRE))
    readings = list(read_lines(wall, noisy[..., 1], seed))
    assert all(one.read for one in readings), summary(readings)
    assert min(one.likeness for one in readings) > 0.7, summary(readings)
    assert min(one.stroke_contrast for one in readings) > 100, summary(readings)


@pytest.mark.parametrize(("strength", "falloff"), [(0, 0), (0.5, 0), (1, 0), (0, 1)])
async def test_blur_hides_text(service: Service, strength: float, falloff: float) -> None:
    readings: list[Reading] = []
    for seed in WALL_SEEDS:
        wall = draw_wall(WIDTH, HEIGHT, seed)
        clip = await asyncio.to_thread(film_of, wall)
        effect = {"type": "blur", "strength": strength, "falloff": falloff}
        journey = await send(service.url, clip, effect)
        assert len(journey.pictures) > AVERAGED_FRAMES
        readings += readings_of(wall, journey, seed)
    text = summary(readings)
    assert max(one.likeness for one in readings) <= MOST_LIKENESS, text
    assert max(one.stroke_contrast for one in readings) <= MOST_STROKE_LEVELS, text
    wins = sum(one.read for one in readings)
    assert wins <= most_by_chance(len(readings)), f"{wins} lines were read\n{text}"

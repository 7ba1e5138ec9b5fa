"""What the pipeline does at each quality level, and that none of them shows the room."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from service.frame.composite import Kind, Untouched
from service.frame.pipeline import Look, Pipeline
from service.frame.planes import SMALLEST_PX, Scaler, view
from service.policy.effects import Nothing
from service.policy.levels import EFFORTS, Level
from tests.frame.scenes import KeyNetworks, bytes_of, figure, frame_of, rgb_of, scene
from tests.frame.test_pipeline import (
    BLUR,
    COLOR,
    EFFECTS,
    NAMES,
    away_from,
    composited,
    pipeline_for,
    room_left,
)

SIZE = (640, 360)
HALF = (320, 180)


def at(pipeline: Pipeline, level: Level) -> None:
    pipeline.spend(EFFORTS[level])


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_no_level_shows_the_room(look: Look, level: Level) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(look, networks)
    at(pipeline, level)
    for index in (0, 1, 2):
        moved = (0.4 + 0.02 * index, 0.6)
        rgb, person = scene(*SIZE, centre=moved), figure(*SIZE, centre=moved)
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        shown = result.frame
        assert (shown.width, shown.height) == (HALF if level.step >= Level.SMALLER.step else SIZE)
        if level is Level.BACKGROUND:
            assert (result.kind, result.refusal) == (Kind.CLOSED, None)
            everywhere = np.zeros(person.shape, bool)[::2, ::2]
            assert abs(room_left(result, rgb[::2, ::2], everywhere)) < 0.02
        else:
            step = SIZE[0] // shown.width
            outside = away_from(person, 24)[::step, ::step]
            assert abs(room_left(result, rgb[::step, ::step], outside)) < 0.02
        result.release()


@pytest.mark.parametrize(
    ("level", "most"), [(Level.FULL, 24), (Level.HALF, 13), (Level.THIRD, 9), (Level.BACKGROUND, 0)]
)
def test_the_network_is_asked_as_often_as_the_level_says(level: Level, most: int) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(COLOR, networks)
    at(pipeline, level)
    asked = []
    for index in range(24):
        before = networks.person.runs
        rgb = scene(640, 360, centre=(0.35 + 0.012 * index, 0.6))  # never still
        composited(pipeline.process(frame_of(rgb, index=index))).release()
        asked.append(networks.person.runs > before)
    assert sum(asked) <= most
    assert sum(asked) >= 0.7 * most


@pytest.mark.parametrize("look", EFFECTS, ids=NAMES)
def test_from_the_background_alone_the_person_is_back_at_once(look: Look) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(look, networks)
    before, after = scene(640, 360, centre=(0.3, 0.6)), scene(640, 360, centre=(0.7, 0.6))
    composited(pipeline.process(frame_of(before, index=0))).release()
    at(pipeline, Level.BACKGROUND)
    runs = networks.person.runs
    for index in range(1, 4):
        composited(pipeline.process(frame_of(before, index=index))).release()
    assert networks.person.runs == runs
    assert not pipeline.alpha().any()
    at(pipeline, Level.FULL)
    result = composited(pipeline.process(frame_of(after, index=4)))
    assert result.kind is Kind.MATTE
    alpha = pipeline.alpha()
    # Where the person is now, and nothing of where it was when it was seen last.
    assert alpha[figure(640, 360, centre=(0.7, 0.6)) > 0].mean() > 230
    assert alpha[:, : 640 // 3].mean() < 2
    assert abs(room_left(result, after, away_from(figure(640, 360, centre=(0.7, 0.6))))) < 0.02
    result.release()


def test_a_hidden_still_background_is_the_same_bit_for_bit() -> None:
    pipeline = pipeline_for(COLOR)
    at(pipeline, Level.BACKGROUND)
    seen = set()
    for index in range(4):
        rgb = scene(640, 360, centre=(0.3 + 0.1 * index, 0.6))
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        seen.add(bytes_of(view(result.frame)))
        result.release()
    assert len(seen) == 1


@pytest.mark.parametrize("level", Level)
def test_a_relay_keeps_its_size_until_the_last_level(level: Level) -> None:
    networks = KeyNetworks()
    pipeline = pipeline_for(Look(Nothing()), networks)
    at(pipeline, level)
    rgb = scene(*SIZE)
    result = pipeline.process(frame_of(rgb))
    assert isinstance(result, Untouched)
    wanted = HALF if level is Level.BACKGROUND else SIZE
    assert (result.frame.width, result.frame.height) == wanted
    step = SIZE[0] // wanted[0]
    blocks = rgb.reshape(wanted[1], step, wanted[0], step, 3).mean(axis=(1, 3))
    assert np.median(np.abs(rgb_of(result.frame) - blocks)) < 6
    assert networks.person.runs == 0


def test_the_closed_picture_has_the_level_s_size() -> None:
    pipeline = pipeline_for(BLUR)
    for level in (Level.SMALLER, Level.FULL):
        at(pipeline, level)
        made = composited(pipeline.process(frame_of(scene(*SIZE))))
        closed = pipeline.closed(*SIZE)
        assert (closed.frame.width, closed.frame.height) == (made.frame.width, made.frame.height)
        closed.release()
        made.release()


def test_no_picture_is_scaled_to_less_than_the_grid() -> None:
    scaler = Scaler(1280, 720)
    scaler.scale = 0.5
    sizes = [(1920, 1080), (1280, 720), (720, 1280), (640, 480), (426, 240), (320, 180), (160, 90)]
    scaled = [scaler.size(*size) for size in sizes]
    assert scaled[:4] == [(640, 360), (640, 360), (360, 640), (320, 240)]
    for (width, height), (before_w, before_h) in zip(scaled, sizes, strict=True):
        assert max(width, height) >= min(SMALLEST_PX, max(before_w, before_h))
        assert width % 2 == height % 2 == 0
        assert abs(width / height - before_w / before_h) < 0.03


def test_levels_that_change_at_every_frame_show_nothing_of_the_room() -> None:
    pipeline = pipeline_for(BLUR)
    for index, level in enumerate(itertools.islice(itertools.cycle(tuple(Level)[::-1]), 12)):
        at(pipeline, level)
        rgb = scene(640, 360, centre=(0.4 + 0.01 * index, 0.6))
        person = figure(640, 360, centre=(0.4 + 0.01 * index, 0.6))
        result = composited(pipeline.process(frame_of(rgb, index=index)))
        step = 640 // result.frame.width
        outside = away_from(person, 24)[::step, ::step]
        assert abs(room_left(result, rgb[::step, ::step], outside)) < 0.02
        result.release()

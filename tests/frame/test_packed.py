"""The packed picture: whoever composes it by the documented rule gets what the service would."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.composite import Composited, Kind
from service.frame.look import Away, Look
from service.frame.picture import Picture
from service.frame.pipeline import Pipeline
from service.frame.planes import Scaler, view
from service.policy.effects import Color, Packed
from service.policy.levels import EFFORTS, Level
from tests.frame.scenes import U8, KeyNetworks, figure, frame_of, rgb_of, scene
from tests.frame.test_logo import logo

SIZES = [(640, 360), (360, 640)]


def composed_by_a_platform(packed: U8, background: tuple[int, int, int]) -> U8:
    """left + (1 - alpha) * background, as docs/api.md has it."""
    width = packed.shape[1] // 2
    left, alpha = packed[:, :width].astype(float), packed[:, width:].astype(float) / 255
    return np.asarray(np.clip(left + (1 - alpha) * background, 0, 255).round(), np.uint8)


def run(pipeline: Pipeline, rgb: U8, index: int = 0) -> Composited:
    result = pipeline.process(frame_of(rgb, index=index))
    assert isinstance(result, Composited)
    return result


@pytest.mark.parametrize("size", SIZES)
def test_put_together_it_is_what_the_colour_effect_shows(size: tuple[int, int]) -> None:
    packed = Pipeline(KeyNetworks(), Look(Packed()))
    color = Pipeline(KeyNetworks(), Look(Color("#2040c0")))
    for index, x in enumerate((0.4, 0.45, 0.5, 0.5)):
        rgb = scene(*size, centre=(x, 0.6))
        one, other = run(packed, rgb, index), run(color, rgb, index)
        assert (one.frame.width, one.frame.height) == (2 * size[0], size[1])
        together = composed_by_a_platform(rgb_of(one.frame), (0x20, 0x40, 0xC0)).astype(int)
        off = np.abs(together - rgb_of(other.frame))
        person = figure(*size, centre=(x, 0.6))
        deep = cv2.erode(person, np.ones((15, 15), np.uint8)) > 0
        away = cv2.dilate(person, np.ones((15, 15), np.uint8)) == 0
        # Colours that RGB cannot hold are clipped, here before and there after the sum.
        assert np.percentile(off[deep], 99) <= 6
        assert off[away].max() <= 6
        assert off.mean() < 2
        assert np.abs(packed.alpha().astype(int) - alpha_of(one)).max() <= 2
        one.release()
        other.release()


def alpha_of(result: Composited) -> U8:
    width = result.frame.width // 2
    return rgb_of(result.frame)[:, width:, 1]


def test_nothing_of_the_room_is_in_it() -> None:
    pipeline = Pipeline(KeyNetworks(), Look(Packed()))
    for index, x in enumerate((0.3, 0.4, 0.6, 0.3)):
        result = run(pipeline, scene(640, 360, centre=(x, 0.6)), index)
        away = cv2.dilate(figure(640, 360, centre=(x, 0.6)), np.ones((41, 41), np.uint8)) == 0
        picture = view(result.frame)
        assert np.all(picture.y[:, :640][away] == 16)
        assert np.all(picture.y[:, 640:][away] == 16)
        for chroma in (picture.u, picture.v):
            assert np.all(chroma[:, 320:] == 128)
            assert np.all(chroma[:, :320][away[::2, ::2]] == 128)
        result.release()


def test_without_a_mask_both_halves_are_black() -> None:
    networks = KeyNetworks()
    pipeline = Pipeline(networks, Look(Packed()))
    seen = [run(pipeline, scene(640, 360))]
    assert seen[0].kind is Kind.MATTE
    seen[0].release()
    networks.person.answer = np.ones_like
    closed = [run(pipeline, scene(640, 360, centre=(0.2, 0.6)), 5), pipeline.closed(640, 360)]
    assert {(each.frame.width, each.frame.height) for each in closed} == {(1280, 360)}
    pipeline.spend(EFFORTS[Level.BACKGROUND])
    closed.append(run(pipeline, scene(640, 360), 6))
    for result in closed:
        assert result.kind is Kind.CLOSED
        assert np.all(view(result.frame).y == 16)


def test_the_limits_hold_for_both_halves_together() -> None:
    pipeline = Pipeline(KeyNetworks(), Look(Packed()), max_width=640, max_height=360)
    for index, (size, expected) in enumerate(
        [((640, 360), (640, 180)), ((360, 640), (360, 320)), ((320, 180), (640, 180))]
    ):
        result = run(pipeline, scene(*size), index)
        assert (result.frame.width, result.frame.height) == expected
        assert pipeline.alpha().shape == (expected[1], expected[0] // 2)
        result.release()
    assert Scaler(1280, 720).size(1280, 720, 2) == (640, 360)


def test_a_change_of_effect_leaves_nothing_of_either() -> None:
    """Frames of one size are used again: 640 px of both halves, and 640 px of one picture."""
    pipeline = Pipeline(KeyNetworks(), Look(Packed()), max_width=640, max_height=640)
    run(pipeline, scene(640, 360)).release()
    pipeline.change(Look(Color("#00b140")))
    plain = run(pipeline, scene(640, 180), 1)
    assert (plain.frame.width, plain.frame.height) == (640, 180)
    fresh = run(Pipeline(KeyNetworks(), Look(Color("#00b140"))), scene(640, 180), 1)
    assert np.array_equal(rgb_of(plain.frame), rgb_of(fresh.frame))
    plain.release()
    pipeline.change(Look(Packed()))
    again = run(pipeline, scene(640, 360), 2)
    expected = run(
        Pipeline(KeyNetworks(), Look(Packed()), max_width=640, max_height=640),
        scene(640, 360),
        2,
    )
    assert np.array_equal(rgb_of(again.frame), rgb_of(expected.frame))


def test_the_logo_is_in_the_picture_and_in_its_alpha() -> None:
    one = logo(opacity=1.0)
    packed = Pipeline(KeyNetworks(), Look(Packed(), logo=one))
    color = Pipeline(KeyNetworks(), Look(Color("#2040c0"), logo=one))
    for index in range(3):
        first, second = run(packed, scene(320, 180), index), run(color, scene(320, 180), index)
        together = composed_by_a_platform(rgb_of(first.frame), (0x20, 0x40, 0xC0)).astype(int)
        assert np.abs(together - rgb_of(second.frame)).mean() < 2
        assert alpha_of(first)[figure(320, 180) == 0].max() > 200
        first.release()
        second.release()


def test_an_away_picture_is_not_taken_for_a_person() -> None:
    networks = KeyNetworks()
    networks.person.answer = np.zeros_like
    pipeline = Pipeline(
        networks,
        Look(Packed(), away=Away(1.0, Picture(np.full((90, 160, 3), 200, np.uint8), "away"))),
    )
    for index in range(70):
        result = run(pipeline, scene(320, 180), index)
        assert np.all(view(result.frame).y == 16)
        result.release()
    assert pipeline.away

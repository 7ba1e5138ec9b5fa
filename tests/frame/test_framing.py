"""The window: where a face wants it, never beyond the picture, without a jump or a tremor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.faces import Face
from service.frame.framing import (
    FACE_DOWN,
    FACE_HEIGHT,
    LOST_S,
    MOST_ZOOM,
    WHOLE,
    Framing,
    Window,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FPS = 30


def face(x: float = 0.5, y: float = 0.4, height: float = 0.2) -> Face:
    return Face(x - height / 3, y - height / 2, x + height / 3, y + height / 2, 0.9, ())


def play(
    framing: Framing,
    faces: Sequence[Sequence[Face]],
    *,
    amount: float = 1.0,
    since_s: float = 0.0,
) -> list[Window]:
    return [framing.follow(seen, since_s + index / FPS, amount) for index, seen in enumerate(faces)]


@pytest.mark.parametrize("where", [face(), face(0.6, 0.5, 0.18), face(0.35, 0.35, 0.16)])
def test_a_face_gets_its_size_and_its_place(where: Face) -> None:
    window = play(Framing(), [[where]] * 6 * FPS)[-1]
    height = (where.bottom - where.top) / window.size
    x = ((where.left + where.right) / 2 - window.left) / window.size
    y = ((where.top + where.bottom) / 2 - window.top) / window.size
    assert abs(height - FACE_HEIGHT) < 0.02
    assert abs(x - 0.5) < 0.02
    assert abs(y - FACE_DOWN) < 0.02


def test_half_of_it_goes_half_the_way() -> None:
    whole, half = wanted([face()], 1.0), wanted([face()], 0.5)
    assert half[2] == pytest.approx((1 + whole[2]) / 2)
    assert wanted([face()], 0.0) == (0.5, 0.5, 1.0)


def test_zoom_is_bounded_and_a_near_face_has_none() -> None:
    assert wanted([face(height=0.02)], 1.0)[2] == pytest.approx(1 / MOST_ZOOM)
    assert wanted([face(height=0.5)], 1.0)[2] == 1.0


def test_everybody_who_is_shown_is_in_it() -> None:
    two = [face(0.3, 0.4, 0.12), face(0.7, 0.4, 0.12)]
    window = play(Framing(), [two] * 6 * FPS)[-1]
    for one in two:
        assert window.left < one.left
        assert one.right < window.left + window.size


def test_a_still_face_that_is_measured_with_noise_moves_nothing() -> None:
    random = np.random.default_rng(1)
    framing = Framing()
    play(framing, [[face(0.6)]] * 6 * FPS)
    noisy = [
        [face(0.6 + random.normal(0, 0.01), 0.4 + random.normal(0, 0.01),
              0.2 * (1 + random.normal(0, 0.03)))]
        for _ in range(10 * FPS)
    ]  # fmt: skip
    assert len(set(play(framing, noisy, since_s=6))) == 1


def test_it_glides_and_never_jumps() -> None:
    framing = Framing()
    windows = [
        *play(framing, [[face(0.35, 0.4, 0.16)]] * 5 * FPS),
        *play(framing, [[face(0.65, 0.45, 0.16)]] * 5 * FPS, since_s=5),
    ]
    at = np.array([(w.left + w.size / 2, w.top + w.size / 2, w.size) for w in windows])
    speed = np.diff(at, axis=0)
    assert np.abs(speed).max() < 0.02  # 13 of 640 px a frame, at its fastest
    assert np.abs(np.diff(speed, axis=0)).max() < 0.005  # no jerk either
    assert windows[-1] == windows[-FPS]  # and it comes to rest


def test_who_is_lost_is_waited_for_and_then_all_is_shown() -> None:
    framing = Framing()
    held = play(framing, [[face()]] * 5 * FPS)[-1]
    waiting = play(framing, [[]] * int((LOST_S - 0.2) * FPS), since_s=5)
    assert set(waiting) == {held}
    assert play(framing, [[]] * 5 * FPS, since_s=5 + LOST_S)[-1] is WHOLE


def test_switched_off_it_glides_back_to_all_of_the_picture() -> None:
    framing = Framing()
    play(framing, [[face()]] * 5 * FPS)
    back = play(framing, [[face()]] * 5 * FPS, amount=0.0, since_s=5)
    assert back[1].size < 0.9
    assert back[-1] is WHOLE


places = st.floats(-0.3, 1.3)


@given(
    st.lists(st.tuples(places, places, st.floats(0.01, 1.5), st.floats(-1, 3)), max_size=30),
    st.floats(0, 1),
)
def test_whatever_comes_the_window_is_inside_of_the_picture(
    seen: list[tuple[float, float, float, float]], amount: float
) -> None:
    framing, now_s = Framing(), 0.0
    for x, y, height, step_s in seen:
        now_s += step_s
        window = framing.follow([face(x, y, height)], now_s, amount)
        assert 1 / MOST_ZOOM - 0.1 <= window.size <= 1
        assert 0 <= window.left <= 1 - window.size + 1e-9
        assert 0 <= window.top <= 1 - window.size + 1e-9

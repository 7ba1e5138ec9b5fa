"""Faces are looked for a few times a second, at once when they matter, closer when missed."""

from __future__ import annotations

import numpy as np

from service.frame.attention import CROWDED_S, PERIOD_S, TRIES, Attention
from service.frame.faces import Face
from service.frame.grid import Grid
from service.frame.planes import view
from tests.frame.scenes import U8, frame_of, scene

FACE = Face(0.4, 0.2, 0.6, 0.5, 0.9, ())
NOBODY: U8 = np.zeros((180, 320), np.uint8)
GRID: Grid = Grid(view(frame_of(scene(640, 360))))


class Detector:
    """Finds what the test says in the whole picture, and something else in cuts of it."""

    def __init__(self) -> None:
        self.found = [FACE]
        self.closer: list[Face] = []
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, rgb: U8) -> list[Face]:
        self.shapes.append(rgb.shape)
        return list(self.found if rgb.shape[:2] == (72, 128) else self.closer)


def looked(attention: Attention, *, frames: int, identity: bool = False) -> list[int]:
    at = []
    for index in range(frames):
        now_s = index / 30
        attention.move(now_s, NOBODY)
        if attention.due(now_s, identity=identity):
            attention.look(GRID, now_s)
            at.append(index)
    return at


def test_three_times_a_second_and_twice_when_all_is_steady() -> None:
    at = looked(Attention(Detector()), frames=91)
    gaps = np.diff(at)
    assert gaps[0] == 10
    assert gaps[-1] == 15
    assert max(gaps) / 30 <= 0.5


def test_two_people_near_each_other_are_looked_at_often_where_it_matters() -> None:
    detector = Detector()
    detector.found = [FACE, Face(0.65, 0.2, 0.85, 0.5, 0.9, ())]
    assert max(np.diff(looked(Attention(detector), frames=31, identity=True))) <= CROWDED_S * 30 + 1
    assert max(np.diff(looked(Attention(detector), frames=31))) >= PERIOD_S * 30


def test_a_face_that_is_lost_is_looked_for_at_once_but_not_for_ever() -> None:
    detector = Detector()
    detector.found = []
    at = looked(Attention(detector), frames=10)
    assert at == list(range(TRIES))


def test_a_reset_looks_at_the_next_frame() -> None:
    attention = Attention(Detector())
    assert looked(attention, frames=3) == [0]
    assert attention.faces() == [FACE]
    attention.reset()
    assert not attention.faces()
    assert attention.due(0.1)


def test_a_body_without_a_face_is_looked_at_closer() -> None:
    detector = Detector()
    detector.found = []
    detector.closer = [Face(0.25, 0.25, 0.75, 0.75, 0.9, ((0.5, 0.5),))]
    attention = Attention(detector)
    attention.look(GRID, 0.0, [(0.5, 0.4, 0.7, 1.0)])
    (face,) = attention.faces()
    assert 0.5 < face.left < face.right < 0.7
    assert 0.3 < face.top < face.bottom < 0.8
    assert face.key_points[0] == ((face.left + face.right) / 2, (face.top + face.bottom) / 2)


def test_a_small_face_that_is_known_is_looked_at_closer() -> None:
    detector = Detector()
    detector.found = [Face(0.45, 0.4, 0.55, 0.55, 0.9, ())]
    attention = Attention(detector)
    attention.look(GRID, 0.0)
    detector.found = []
    detector.shapes.clear()
    attention.move(0.5, NOBODY)
    attention.look(GRID, 0.5)
    assert len(detector.shapes) == 2
    assert detector.shapes[1] == (128, 128, 3)

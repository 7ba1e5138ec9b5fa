"""Faces are looked for a few times a second, and at once when they matter."""

from __future__ import annotations

from service.frame.attention import PERIOD_FRAMES, TRIES, Attention
from service.frame.faces import Face
from service.frame.grid import build_grid
from service.frame.planes import view
from tests.frame.scenes import U8, frame_of, scene

FACE = Face(0.4, 0.2, 0.6, 0.5, 0.9, ())


class Detector:
    """Finds what the test says."""

    def __init__(self) -> None:
        self.found = [FACE]
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, rgb: U8) -> list[Face]:
        self.shapes.append(rgb.shape)
        return self.found


def looked(attention: Attention, *, frames: int, timed: bool) -> list[int]:
    grid = build_grid(view(frame_of(scene(64, 36))))
    at = []
    for index in range(frames):
        now_s = index / 30 if timed else None
        if attention.due(now_s):
            attention.look(grid, now_s)
            at.append(index)
    return at


def test_three_times_a_second() -> None:
    assert looked(Attention(Detector()), frames=31, timed=True) == [0, 10, 20, 30]


def test_streams_without_timestamps_count_frames() -> None:
    at = looked(Attention(Detector()), frames=3 * (PERIOD_FRAMES + 1), timed=False)
    assert at == [0, PERIOD_FRAMES + 1, 2 * (PERIOD_FRAMES + 1)]


def test_a_face_that_is_lost_is_looked_for_at_once_but_not_for_ever() -> None:
    detector = Detector()
    detector.found = []
    at = looked(Attention(detector), frames=10, timed=True)
    assert at == list(range(TRIES))


def test_a_reset_looks_at_the_next_frame() -> None:
    attention = Attention(Detector())
    assert looked(attention, frames=3, timed=True) == [0]
    assert list(attention.faces) == [FACE]
    attention.reset()
    assert not attention.faces
    assert attention.due(0.1)


def test_the_picture_keeps_its_shape() -> None:
    detector = Detector()
    attention = Attention(detector)
    for size in ((640, 360), (360, 640)):
        attention.look(build_grid(view(frame_of(scene(*size)))), 0.0)
    assert detector.shapes == [(72, 128, 3), (128, 72, 3)]

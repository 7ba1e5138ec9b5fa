"""The blurred room hides what is in it, at any strength, and nothing of the person is in it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.blur import FLOOR_SHARE, BlurredRoom
from service.frame.grid import Grid, grid_size
from service.frame.mask import Mask
from service.frame.planes import view
from tests.frame.portrait import astronaut
from tests.frame.scenes import ORANGE, U8, bytes_of, figure, frame_of, room, scene

SIZE = (640, 360)
NOBODY = np.zeros(grid_size(*SIZE)[::-1], np.uint8)


def behind(rgb: U8, alpha: U8, strength: float) -> U8:
    """The luma of the room shown behind the person of alpha."""
    height, width = rgb.shape[:2]
    grid = Grid(view(frame_of(rgb)))
    return BlurredRoom().behind(grid, Mask(alpha), strength, (width, height)).y.copy()


def page_of_text(letter_px: int) -> U8:
    """Black letters of that height on white, all over the frame."""
    page = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    scale = letter_px / 22  # Hershey simplex capitals are about 22 px high at scale 1
    for line, y in enumerate(range(letter_px + 4, SIZE[1], int(letter_px * 1.7))):
        text = "SECRET PLAN 4711 " * 8
        cv2.putText(
            page,
            text[line:],
            (4, y),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (0, 0, 0),
            max(1, letter_px // 8),
        )
    return page


def contrast_above(luma: U8, cycles_per_px: float) -> float:
    """Standard deviation of what the picture holds in frequencies above that."""
    picture = luma.astype(np.float64)
    window = np.outer(np.hanning(picture.shape[0]), np.hanning(picture.shape[1]))
    spectrum = np.fft.fft2((picture - picture.mean()) * window)
    fy = np.fft.fftfreq(picture.shape[0])[:, None]
    fx = np.fft.fftfreq(picture.shape[1])[None, :]
    spectrum[np.hypot(fx, fy) < cycles_per_px] = 0
    return float(np.fft.ifft2(spectrum).real.std())


@pytest.mark.parametrize("letter_px", [12, 20, 30, 40])
def test_text_cannot_be_read_at_the_least_strength(letter_px: int) -> None:
    """A letter needs two to three cycles over its height to be told from another (Legge 1985)."""
    page = page_of_text(letter_px)
    original = view(frame_of(page)).y
    shown = behind(page, NOBODY, 0.0)
    needed = 2.0 / letter_px
    left = contrast_above(shown, needed) / contrast_above(original, needed)
    assert contrast_above(original, needed) > 20  # there was text to hide
    assert left < 0.03


def test_a_face_behind_cannot_be_known_at_the_least_strength() -> None:
    """Faces need some eight cycles across to be known (Nasanen 1999)."""
    rgb = room(*SIZE)
    face_px = 72
    face = astronaut()[60:210, 150:300]
    rgb[100 : 100 + face_px, 60 : 60 + face_px] = cv2.resize(
        face, (face_px, face_px), interpolation=cv2.INTER_AREA
    )
    part = (slice(100, 100 + face_px), slice(60, 60 + face_px))
    original = view(frame_of(rgb)).y[part]
    shown = behind(rgb, NOBODY, 0.0)[part]
    needed = 8.0 / face_px
    assert contrast_above(shown, needed) < 0.03 * contrast_above(original, needed)


def test_more_strength_leaves_less() -> None:
    rgb = page_of_text(40)
    floor = FLOOR_SHARE * SIZE[0]
    left = [float(behind(rgb, NOBODY, s)[50:-50, 50:-50].std()) for s in (0.0, 0.5, 1.0)]
    assert left[0] > left[1] > left[2]
    assert floor > 10


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_the_person_does_not_bleed_into_the_room(strength: float) -> None:
    """An orange person in a plain grey room: the room around her stays grey."""
    rgb = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    person = figure(*SIZE)
    rgb[person > 0] = ORANGE
    grid = Grid(view(frame_of(rgb)))
    alpha = np.asarray(cv2.resize(person, grid_size(*SIZE), interpolation=cv2.INTER_AREA), np.uint8)
    planes = BlurredRoom().behind(grid, Mask(alpha), strength, SIZE)
    grey = view(frame_of(np.full_like(rgb, 110)))
    outside = person == 0
    for plane, expected in zip(planes.each(), grey.each(), strict=True):
        seen = outside if plane.shape == outside.shape else outside[::2, ::2]
        assert float(np.abs(plane.astype(int) - expected)[seen].max()) <= 3
    naive = cv2.GaussianBlur(view(frame_of(rgb)).v, (0, 0), FLOOR_SHARE * SIZE[0] / 2)
    ring = (cv2.dilate(person, np.ones((9, 9))) > 0)[::2, ::2] & (person == 0)[::2, ::2]
    assert float(np.abs(naive.astype(int) - grey.v)[ring].mean()) > 15  # what a plain blur does


def test_what_the_person_uncovers_does_not_show_her() -> None:
    rgb = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    blurred = BlurredRoom()
    for x in (0.3, 0.35, 0.4, 0.45, 0.5):
        picture, person = rgb.copy(), figure(*SIZE, centre=(x, 0.6))
        picture[person > 0] = ORANGE
        grid = Grid(view(frame_of(picture)))
        alpha = np.asarray(cv2.resize(person, grid_size(*SIZE)), np.uint8)
        planes = blurred.behind(grid, Mask(alpha), 0.6, SIZE)
        grey = view(frame_of(rgb))
        assert float(np.abs(planes.y.astype(int) - grey.y)[person == 0].max()) <= 4


def test_a_still_noisy_room_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    rgb, blurred = room(*SIZE), BlurredRoom()
    shown: list[bytes] = []
    for _ in range(12):
        noisy = np.clip(rgb + rng.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
        grid = Grid(view(frame_of(noisy)))
        shown.append(bytes_of(blurred.behind(grid, Mask(NOBODY), 0.6, SIZE)))
    assert len(set(shown[2:])) == 1


def test_a_room_that_changes_is_followed() -> None:
    blurred = BlurredRoom()
    dark, light = np.full((360, 640, 3), 60, np.uint8), np.full((360, 640, 3), 160, np.uint8)
    blurred.behind(Grid(view(frame_of(dark))), Mask(NOBODY), 0.6, SIZE)
    for _ in range(12):
        grid = Grid(view(frame_of(light)))
        planes = blurred.behind(grid, Mask(NOBODY), 0.6, SIZE)
    assert abs(float(planes.y.mean()) - float(view(frame_of(light)).y.mean())) <= 3


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (1280, 720), (170, 130), (64, 48)])
def test_every_size_is_filled(size: tuple[int, int]) -> None:
    grid = Grid(view(frame_of(scene(*size))))
    nobody = np.zeros(grid_size(*size)[::-1], np.uint8)
    blurred = BlurredRoom()
    for planes in (blurred.behind(grid, Mask(nobody), 0.5, size), blurred.closed(grid, size)):
        assert planes.size == size
        assert int(planes.y.max()) < 235
        assert int(planes.y.min()) > 16


def test_closed_leaves_no_face() -> None:
    """The person is in this picture: a face that fills half of the frame's height is a blob."""
    picture = np.asarray(cv2.resize(astronaut()[:288], SIZE), np.uint8)
    grid = Grid(view(frame_of(picture)))
    shown = BlurredRoom().closed(grid, SIZE).y
    original = view(frame_of(picture)).y
    needed = 4.0 / 180
    assert contrast_above(shown, needed) < 0.03 * contrast_above(original, needed)

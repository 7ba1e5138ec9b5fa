"""The logo: where it is, how exact it is, and that no composed picture is without it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pil

from service.errors import PictureError
from service.frame.background import PlaneCache, flat
from service.frame.colour import Colour, Matrix, yuv_of_rgb
from service.frame.composite import Compositor, Kind, Timing
from service.frame.logo import MAX_BYTES, Layout, Logo, lay_out, read_logo
from service.frame.look import Look
from service.frame.mask import Mask
from service.frame.planes import Planes, empty, view
from service.frame.stages import StageClock
from service.policy.effects import Blur, Color, Nothing
from service.policy.policy_file import Corner, LogoSpec
from tests.frame.scenes import figure, frame_of, room

if TYPE_CHECKING:
    from service.frame.composite import Composited

PLAIN = Colour()
SIZES = [(640, 360), (1280, 720), (360, 640), (322, 242), (64, 48), (2, 2), (1920, 64)]


def logo(alpha: int = 255, *, shape: tuple[int, int] = (40, 80), **spec: object) -> Logo:
    rgba = np.zeros((*shape, 4), np.uint8)
    rgba[...] = (200, 30, 60, alpha)
    return Logo(rgba, LogoSpec(Path("unread.png"), **spec))  # type: ignore[arg-type]


def grey(size: tuple[int, int], colour: Colour = PLAIN, value: int = 90) -> Planes:
    planes = empty(*size, colour)
    for plane in planes.each():
        plane[...] = value
    return planes


def bytes_of(image: Pil.Image, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("corner", list(Corner))
@pytest.mark.parametrize("size", SIZES)
def test_it_is_in_its_corner_and_inside_of_the_frame(size: tuple[int, int], corner: Corner) -> None:
    left, top, right, bottom = lay_out(logo(corner=corner), size, Colour()).box
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert not (left | top | right | bottom) & 1
    if min(size) > 100:
        assert abs((right - left) - 0.12 * max(size)) <= 2
        assert abs((right - left) - 2 * (bottom - top)) <= 4
        margin = 0.03 * max(size)
        at_left = corner in (Corner.TOP_LEFT, Corner.BOTTOM_LEFT)
        at_top = corner in (Corner.TOP_LEFT, Corner.TOP_RIGHT)
        assert abs((left if at_left else size[0] - right) - margin) <= 2
        assert abs((top if at_top else size[1] - bottom) - margin) <= 2


@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    width=st.floats(0.02, 0.4),
    margin=st.floats(0, 0.2),
    half=st.tuples(st.integers(1, 960), st.integers(1, 960)),
    corner=st.sampled_from(Corner),
)
def test_any_logo_in_any_frame(
    rows: int, columns: int, width: float, margin: float, half: tuple[int, int], corner: Corner
) -> None:
    one = logo(shape=(rows, columns), width=width, margin=margin, corner=corner)
    size = 2 * half[0], 2 * half[1]
    into = grey(size)
    layout = lay_out(one, size, Colour())
    layout.draw(into)
    left, top, right, bottom = layout.box
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("colour", [Colour(), Colour(Matrix.BT709), Colour(full_range=True)])
def test_the_colour_is_that_of_the_picture(colour: Colour) -> None:
    into = grey((640, 360), colour)
    layout = lay_out(logo(), (640, 360), colour)
    layout.draw(into)
    expected = yuv_of_rgb(np.array([[[200, 30, 60]]], np.uint8), colour)[0, 0]
    left, top, right, bottom = layout.box
    for plane, value, shift in zip(into.each(), expected, (0, 1, 1), strict=True):
        part = plane[top >> shift : bottom >> shift, left >> shift : right >> shift]
        assert int(np.abs(part.astype(int) - int(value)).max()) <= 1
        outside = plane.copy()
        outside[top >> shift : bottom >> shift, left >> shift : right >> shift] = 90
        assert (outside == 90).all()


def test_what_is_transparent_changes_nothing() -> None:
    into = grey((640, 360))
    lay_out(logo(alpha=0), (640, 360), Colour()).draw(into)
    assert all((plane == 90).all() for plane in into.each())


def test_half_transparent_is_half_way() -> None:
    full, half = grey((640, 360)), grey((640, 360))
    layout: Layout = lay_out(logo(), (640, 360), Colour())
    layout.draw(full)
    lay_out(logo(opacity=0.5), (640, 360), Colour()).draw(half)
    left, top, _, _ = layout.box
    assert abs(int(half.y[top + 4, left + 4]) - (90 + int(full.y[top + 4, left + 4])) / 2) <= 1.5


def test_a_transparent_rim_leaves_no_fringe() -> None:
    """White beneath full transparency, as many editors save it, must not shine through."""
    rgba = np.full((400, 400, 4), 255, np.uint8)
    rgba[..., 3] = 0
    rgba[100:300, 100:300] = (0, 0, 0, 255)
    into = grey((640, 360), value=16)
    lay_out(Logo(rgba, LogoSpec(Path("x"))), (640, 360), Colour()).draw(into)
    assert int(into.y.max()) <= 17


def composed(compositor: Compositor, look: Look, frames: int, x: float = 0.6) -> Composited:
    source = view(frame_of(room(320, 180)))
    behind = flat("#00b140", source.size, source.colour, PlaneCache())
    for number in range(frames):
        result = compositor.matte(
            source,
            lambda: behind,
            lambda: behind,
            Mask(figure(320, 180, centre=(x, 0.6)), version=number),
            look=look,
            timing=Timing(),
            clock=StageClock(),
        )
        if number < frames - 1:
            result.release()
    return result


@pytest.mark.parametrize("opacity", [1.0, 0.5])
@pytest.mark.parametrize("x", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("light_wrap", [0.0, 1.0])
def test_it_is_over_everything_and_does_not_add_up(
    opacity: float, x: float, light_wrap: float
) -> None:
    """Output frames are used again with most of what they hold: what was drawn over the picture
    before must not be drawn over again."""
    one = logo(opacity=opacity)
    effect = Color("#00b140", light_wrap=light_wrap)
    without = view(composed(Compositor(), Look(effect), 1, x).frame)
    expected = grey(without.size, without.colour)
    for plane, read in zip(expected.each(), without.each(), strict=True):
        plane[...] = read
    lay_out(one, without.size, without.colour).draw(expected)
    for frames in (1, 2, 5):
        result = composed(Compositor(), Look(effect, logo=one), frames, x)
        assert result.kind is Kind.MATTE
        for plane, read in zip(expected.each(), view(result.frame).each(), strict=True):
            assert np.array_equal(plane, read)


def test_it_goes_with_its_look_and_leaves_no_trace() -> None:
    compositor, effect = Compositor(), Color("#00b140")
    composed(compositor, Look(effect, logo=logo()), 3).release()
    after = composed(compositor, Look(effect), 2)
    plain = composed(Compositor(), Look(effect), 1)
    for plane, read in zip(view(plain.frame).each(), view(after.frame).each(), strict=True):
        assert np.array_equal(plane, read)


def test_a_closed_picture_has_it_too() -> None:
    one, compositor = logo(), Compositor()
    behind = flat("#00b140", (320, 180), Colour(), PlaneCache())
    look = Look(Blur(), logo=one)
    expected = grey((320, 180))
    for plane, read in zip(expected.each(), behind.each(), strict=True):
        plane[...] = read
    lay_out(one, (320, 180), Colour()).draw(expected)
    for _ in range(3):
        result = compositor.closed(behind, look=look, timing=Timing(), clock=StageClock())
        for plane, read in zip(expected.each(), view(result.frame).each(), strict=True):
            assert np.array_equal(plane, read)
        result.release()


def test_no_look_has_a_logo_and_no_effect() -> None:
    with pytest.raises(ValueError, match="drawn by an effect"):
        Look(Nothing(), logo=logo())


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_file_is_decoded_within_bounds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logo"
    path.write_bytes(bytes_of(Pil.new("RGBA", (1000, 500), (10, 20, 30, 40)), kind))
    one = read_logo(LogoSpec(path))
    assert one.rgba.shape == (384, 768, 4)
    assert int(one.rgba[0, 0, 3]) == 40
    assert not one.rgba.flags.writeable


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be decoded as PNG or WebP"),
        (b"x" * (MAX_BYTES + 1), "more than 1048576 bytes"),
        (bytes_of(Pil.new("1", (2001, 2000))), "at most 4000000 pixels"),
        (bytes_of(Pil.new("RGB", (8, 8)), "JPEG"), "cannot be decoded as PNG or WebP"),
    ],
)
def test_files_that_are_not_taken(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=why):
        read_logo(LogoSpec(path))

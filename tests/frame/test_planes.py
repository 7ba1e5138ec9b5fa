"""A frame's planes are read as they are, and pooled frames are never written over in use."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from av.video.format import VideoFormat
from hypothesis import given
from hypothesis import strategies as st

from service.frame.colour import Colour, Matrix
from service.frame.planes import FramePool, OutputFrame, Scaler, colour_of, view
from tests.frame.scenes import frame_of, room


@given(width=st.integers(2, 90), height=st.integers(2, 70))
def test_view_leaves_out_the_odd_column_and_row_and_all_padding(width: int, height: int) -> None:
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        assert plane.line_size >= plane.width
        whole = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        whole[:] = 255  # padding: must not be seen
        whole[: plane.height, : plane.width] = np.add.outer(
            np.arange(plane.height), np.arange(plane.width)
        )
    planes = view(frame)
    rows, columns = height & ~1, width & ~1
    expected = np.add.outer(np.arange(rows), np.arange(columns))
    assert planes.size == (columns, rows)
    assert np.array_equal(planes.y, expected)
    assert np.array_equal(planes.u, expected[: rows // 2, : columns // 2])
    assert np.array_equal(planes.v, planes.u)


def test_view_reads_the_frames_own_memory_and_cannot_write_to_it() -> None:
    frame = frame_of(room(64, 48))
    planes = view(frame)
    assert planes.y.ctypes.data == frame.planes[0].buffer_ptr
    for plane in planes.each():
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 1


def test_view_refuses_a_frame_without_a_picture() -> None:
    with pytest.raises(ValueError, match="1x40"):
        view(av.VideoFrame(1, 40, "yuv420p"))


@pytest.mark.parametrize("pix_fmt", ["rgb24", "yuv444p", "nv12", "yuv422p", "gray"])
def test_view_converts_other_formats(pix_fmt: str) -> None:
    rgb = np.full((48, 64, 3), (200, 40, 90), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    planes = view(frame)
    assert planes.size == (64, 48)
    assert planes.colour == Colour()
    luma = 16 + (0.299 * 200 + 0.587 * 40 + 0.114 * 90) * 219 / 255
    assert abs(float(planes.y.mean()) - luma) <= 2


@pytest.mark.parametrize(
    ("pix_fmt", "color_range", "colorspace", "colour"),
    [
        ("yuv420p", 0, 2, Colour(Matrix.BT601, full_range=False)),
        ("yuv420p", 1, 2, Colour(Matrix.BT601, full_range=False)),
        ("yuv420p", 2, 2, Colour(Matrix.BT601, full_range=True)),
        ("yuv420p", 1, 1, Colour(Matrix.BT709, full_range=False)),
        ("yuv420p", 2, 1, Colour(Matrix.BT709, full_range=True)),
        ("yuv420p", 1, 5, Colour(Matrix.BT601, full_range=False)),
        ("yuv420p", 1, 6, Colour(Matrix.BT601, full_range=False)),
        ("yuvj420p", 0, 2, Colour(Matrix.BT601, full_range=True)),
    ],
)
def test_colour_is_what_the_frame_says(
    pix_fmt: str, color_range: int, colorspace: int, colour: Colour
) -> None:
    frame = av.VideoFrame(16, 16, pix_fmt)
    frame.color_range, frame.colorspace = color_range, colorspace
    assert colour_of(frame) == colour


@pytest.mark.parametrize("matrix", list(Matrix))
@pytest.mark.parametrize("full_range", [False, True])
def test_output_frame_says_what_it_holds(matrix: Matrix, full_range: bool) -> None:
    output = OutputFrame(32, 16)
    colour = Colour(matrix, full_range=full_range)
    assert output.prepare(colour).colour == colour
    assert colour_of(output.frame) == colour
    assert output.frame.pict_type == 0


def test_pool_gives_the_same_frame_again() -> None:
    pool = FramePool()
    first = pool.take(64, 48)
    pool.give_back(first)
    assert pool.take(64, 48) is first


def test_pool_is_bounded_and_forgets_other_sizes() -> None:
    pool = FramePool(limit=2)
    taken = [pool.take(64, 48) for _ in range(5)]
    for output in taken:
        pool.give_back(output)
    assert pool.idle == 2
    assert pool.take(48, 64).frame.width == 48
    assert pool.idle == 0


def test_a_frame_that_is_still_referenced_is_moved_and_not_written_over() -> None:
    """A filter graph holds references as some encoders do (frame threads, lookahead)."""
    output = OutputFrame(64, 48)
    output.prepare(Colour()).y[:] = 50
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=64, height=48, format=VideoFormat("yuv420p"), time_base=Fraction(1, 30), name="in"
    )
    source.link_to(graph.add("buffersink"))
    graph.configure()
    output.frame.pts = 0
    graph.push(output.frame)

    planes = output.prepare(Colour())
    planes.y[:] = 200
    held = graph.pull()
    assert isinstance(held, av.VideoFrame)
    assert int(view(held).y.max()) == 50
    assert int(view(output.frame).y.min()) == 200


@pytest.mark.parametrize("options", [{"preset": "medium"}, {"tune": "zerolatency"}])
def test_x264_gets_every_picture_of_one_pooled_frame(options: dict[str, str]) -> None:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.options = Fraction(1, 30), options
    output = OutputFrame(64, 48)
    packets = []
    for index in range(12):
        planes = output.prepare(Colour())
        planes.y[:] = 20 + 15 * index
        planes.u[:] = planes.v[:] = 128
        output.frame.pts = index
        packets += encoder.encode(output.frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [f for packet in [*packets, None] for f in decoder.decode(packet)]
    lumas = [float(view(frame).y.mean()) for frame in frames]
    assert lumas == pytest.approx([20 + 15 * index for index in range(12)], abs=3)


@given(
    width=st.integers(2, 4000),
    height=st.integers(2, 4000),
    limit=st.sampled_from([(640, 360), (1280, 720), (1920, 1080), (360, 640)]),
)
def test_scaled_size_is_even_within_the_limit_and_of_the_same_shape(
    width: int, height: int, limit: tuple[int, int]
) -> None:
    out_width, out_height = Scaler(*limit).size(width, height)
    assert out_width % 2 == out_height % 2 == 0
    wide, high = limit if width >= height else limit[::-1]  # a turned phone turns the limits
    assert 2 <= out_width <= max(wide, 2)
    assert 2 <= out_height <= max(high, 2)
    assert out_width <= width
    assert out_height <= height
    factor = min(1.0, wide / width, high / height)
    assert abs(out_width - width * factor) <= 2
    assert abs(out_height - height * factor) <= 2


def test_scaler_makes_large_pictures_smaller_and_leaves_small_ones_alone() -> None:
    scaler = Scaler(64, 36)
    large = view(frame_of(np.full((72, 128, 3), 90, np.uint8)))
    small = scaler.fit(large)
    assert small.size == (64, 36)
    assert abs(int(small.y[5, 5]) - int(large.y[5, 5])) <= 1
    assert scaler.fit(small) is small

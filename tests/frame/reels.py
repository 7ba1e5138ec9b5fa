"""Short films for backgrounds, made in memory."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 40), (40, 50, 200)
CODECS = {"mp4": "libx264", "webm": "libvpx", "avi": "mpeg4", "mov": "mpeg4"}


def reel(
    colors: Sequence[tuple[int, int, int]] = (RED, GREEN, BLUE),
    *,
    form: str = "mp4",
    size: tuple[int, int] = (320, 180),
    each: int = 5,
    rate: int = 10,
) -> bytes:
    """Each colour for so many frames."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream(CODECS[form], rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 400_000
        stream.codec_context.time_base = Fraction(1, rate)
        for index in range(each * len(colors)):
            rgb = np.empty((size[1], size[0], 3), np.uint8)
            rgb[...] = colors[index // each]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()

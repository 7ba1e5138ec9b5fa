"""Small moving pictures for codec and peer tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from service.rtc.codecs import TIME_BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def moving_picture(number: int, *, width: int = 320, height: int = 180) -> av.VideoFrame:
    """A yuv420p gradient with a square that moves, 30 fps."""
    columns = np.linspace(40, 200, width, dtype=np.uint8)
    luma = np.broadcast_to(columns, (height, width)).copy()
    left = (number * 4) % (width - 40)
    luma[40:80, left : left + 40] = 235
    chroma = np.full((height // 2, width), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")
    frame.pts, frame.time_base = number * 3000, TIME_BASE
    return frame


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A copy of the luma plane without its padding."""
    plane = frame.planes[0]
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]

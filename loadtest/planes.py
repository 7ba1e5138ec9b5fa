"""Y, U and V of a picture as arrays, and what green is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

GREEN = "#00b140"
"""The colour that the measured sessions put behind the person; example_server.py does, too."""
BT601_KR, BT601_KB = 0.299, 0.114


def yuv_of(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as BT.601 in limited range, which is what a stream means that says nothing."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    luma = BT601_KR * red + (1 - BT601_KR - BT601_KB) * green + BT601_KB * blue
    return (
        round(16 + 219 * luma),
        round(128 + 224 * (blue - luma) / (2 * (1 - BT601_KB))),
        round(128 + 224 * (red - luma) / (2 * (1 - BT601_KR))),
    )


GREEN_YUV = yuv_of(GREEN)


def planes_of(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """The planes of a yuv420p picture of even size: H x W, then twice H/2 x W/2; its own memory.

    A decoder's pictures are read only, whatever the arrays allow.
    """
    found = []
    for plane, step in zip(frame.planes, (1, 2, 2), strict=True):
        rows = np.frombuffer(cast("bytes", plane), np.uint8).reshape(-1, plane.line_size)
        found.append(rows[: frame.height // step, : frame.width // step])
    return found


def chroma_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height of the U and V planes."""
    return frame.width // 2, frame.height // 2

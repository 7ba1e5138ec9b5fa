"""Clips whose alpha is known exactly: an orange figure that walks through a textured room."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from tests.frame.scenes import U8, figure, scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH, HEIGHT, RATE = 320, 180, 25


def walk(folder: Path, name: str, frames: int, *, alphas: Sequence[U8] | None = None) -> None:
    """NAME.mp4 (H264) and NAME.alpha.mkv (FFV1, gray); alphas in place of the true ones."""
    centres = [(0.4 + 0.01 * index, 0.6) for index in range(frames)]
    write(folder / f"{name}.mp4", [scene(WIDTH, HEIGHT, centre=at) for at in centres])
    if alphas is None:
        alphas = [figure(WIDTH, HEIGHT, centre=at) for at in centres]
    write(folder / f"{name}.alpha.mkv", alphas)


def write(path: Path, pictures: Sequence[U8], *, pix_fmt: str | None = None) -> None:
    """RGB pictures as H264, gray ones as FFV1."""
    gray = pictures[0].ndim == 2
    codec, own = ("ffv1", "gray") if gray else ("libx264", "yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options={} if gray else {"crf": "12"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt or own
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if gray else "rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def still(folder: Path, name: str) -> None:
    """NAME.jpg and NAME.png."""
    rgb = scene(WIDTH, HEIGHT)
    cv2.imwrite(str(folder / f"{name}.jpg"), np.ascontiguousarray(rgb[..., ::-1]))
    cv2.imwrite(str(folder / f"{name}.png"), figure(WIDTH, HEIGHT))

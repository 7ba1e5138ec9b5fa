"""Files as the frame path sees them: frames in, and for each what a live track would send.

What the commands that run the frame path over files have in common: clip.py, which writes its
matte, and evaluation/, which measures it.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from service.errors import BackclothError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from service.frame.pipeline import Composited, Pipeline, Untouched

logger = logging.getLogger(__name__)

NO_LIMIT_PX = 1 << 14
"""A file is processed at its own size, whatever a live track may send."""
DEFAULT_RATE = 30


class ClipError(BackclothError):
    """A file that cannot be read or written."""


def frames(source: Path) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """Every frame and the file's frame rate. Raises ClipError for what cannot be decoded."""
    if not source.is_file():
        raise ClipError(f"there is no file {source}")
    try:
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise ClipError(f"{source} has no video")
            stream = container.streams.video[0]
            rate = stream.average_rate or Fraction(DEFAULT_RATE)
            for frame in container.decode(stream):
                yield frame, rate
    except av.FFmpegError as exc:
        raise ClipError(f"{source} cannot be decoded: {exc.strerror}") from exc


def processed(
    pipeline: Pipeline, frame: av.VideoFrame
) -> tuple[Composited | Untouched, NDArray[np.uint8]]:
    """What a live track would send, and its alpha: a frame that cannot be processed is closed."""
    try:
        result = pipeline.process(frame)
    except Exception:
        logger.exception("a frame could not be processed")
        closed = pipeline.closed(frame.width, frame.height)
        closed.frame.pts = frame.pts
        return closed, np.zeros((closed.frame.height, closed.frame.width), np.uint8)
    return result, pipeline.alpha()


def padded(alpha: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The pipeline leaves an odd last column and row out; here they are the ones beside them."""
    rows, columns = alpha.shape
    return np.pad(alpha, ((0, height - rows), (0, width - columns)), mode="edge")

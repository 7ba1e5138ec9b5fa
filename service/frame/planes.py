"""Y, U and V of a decoded frame as arrays, and the pool of frames that results are written to.

The frame path never makes an RGB picture of full size: a decoded frame is read through
zero-copy views, and what comes out is written into pooled frames of our own. The views are read
only because a decoded frame's planes are the H264 decoder's reference pictures: one write into
them spoils every later frame. Used by pipeline.py and composite.py; colour.py says what the
numbers in the planes mean.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from service.frame.colour import Colour, Matrix

cv2.setNumThreads(1)  # one frame's work stays on one thread; parallelism is across tracks

U8 = NDArray[np.uint8]

PLANAR_420 = ("yuv420p", "yuvj420p")
# AVColorSpace numbers (libavutil/pixfmt.h). "Unspecified" means 601 as WebRTC receivers take it.
BT709, UNSPECIFIED, FCC, BT470BG, SMPTE170M = 1, 2, 4, 5, 6
MATRICES = {
    BT709: Matrix.BT709,
    UNSPECIFIED: Matrix.BT601,
    FCC: Matrix.BT601,
    BT470BG: Matrix.BT601,
    SMPTE170M: Matrix.BT601,
}
LIMITED, FULL = 1, 2  # AVColorRange numbers
SMALLEST_PX = 320
"""Longer side down to which a picture is scaled to save CPU: the size of the matte's grid."""
POOL_FRAMES = 6
"""Idle output frames kept: one composed, one in the mailbox, one in the encoder, and as many
again while a slow reader catches up. More are allocated when asked for and dropped when idle."""


@dataclass(frozen=True, slots=True)
class Planes:
    """One 4:2:0 picture: y is H x W, u and v are H/2 x W/2, uint8; H and W are even.

    As a background the same object again means the same picture again, bit for bit: whoever draws
    into its arrays anew makes a new Planes of them.
    """

    y: U8
    u: U8
    v: U8
    colour: Colour

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px."""
        return int(self.y.shape[1]), int(self.y.shape[0])

    @property
    def nbytes(self) -> int:
        return int(self.y.nbytes + self.u.nbytes + self.v.nbytes)

    def each(self) -> tuple[U8, U8, U8]:
        return self.y, self.u, self.v


def even(width: int, height: int) -> tuple[int, int]:
    """The size without an odd last column or row: encoders of 4:2:0 take even sizes only."""
    return width & ~1, height & ~1


def planar(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame itself when its planes can be read as they are; else a converted copy (rare)."""
    if frame.format.name in PLANAR_420 and frame.colorspace in MATRICES:
        return frame
    return frame.reformat(
        format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1
    )


def colour_of(frame: av.VideoFrame) -> Colour:
    """What the frame says its numbers mean; silence means BT.601, limited range."""
    full = frame.format.name == "yuvj420p" or frame.color_range == FULL
    return Colour(MATRICES.get(frame.colorspace, Matrix.BT601), full_range=full)


def view(frame: av.VideoFrame) -> Planes:
    """Read-only views of a 4:2:0 frame, odd last column and row left out. Nothing is copied.

    The views keep the frame alive. Raises ValueError for a frame under 2 x 2 px.
    """
    frame = planar(frame)
    planes = _views(frame)
    for plane in planes.each():
        plane.flags.writeable = False
    return planes


def _views(frame: av.VideoFrame) -> Planes:
    width, height = even(frame.width, frame.height)
    if width < 2 or height < 2:
        raise ValueError(f"a frame of {frame.width}x{frame.height} px has no 4:2:0 picture in it")
    y, u, v = (
        # line_size may be wider than the picture: alignment padding at each row's end.
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : height >> shift, : width >> shift
        ]
        for plane, shift in zip(frame.planes, (0, 1, 1), strict=True)
    )
    return Planes(y, u, v, colour_of(frame))


Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in px, even; the last two are the first px outside."""
NOTHING: Rectangle = (0, 0, 0, 0)


class OutputFrame:
    """A pooled frame and writable views of its planes; one owner at a time.

    It remembers which background it holds around what was drawn over it: the next frame on the
    same background finds most of its work done, and most of its pixels identical.
    """

    __slots__ = ("_address", "_backdrop", "_drawn", "_over", "_planes", "frame")

    def __init__(self, width: int, height: int) -> None:
        self.frame = av.VideoFrame(width, height, "yuv420p")
        self._address = self.frame.planes[0].buffer_ptr
        self._planes = _views(self.frame)
        self._backdrop: Planes | None = None
        self._drawn = self._over = NOTHING

    def lay(self, backdrop: Planes, into: Planes, box: Rectangle) -> None:
        """The background around a box that will be drawn over; into is what prepare() gave."""
        known = self._backdrop is backdrop
        dirty = (self._drawn, self._over) if known else ((0, 0, *into.size),)
        for rectangle in (piece for part in dirty for piece in around(part, box)):
            for plane, still, step in zip(into.each(), backdrop.each(), (1, 2, 2), strict=True):
                left, top, right, bottom = (edge // step for edge in rectangle)
                part = slice(top, bottom), slice(left, right)
                np.copyto(plane[part], still[part])
        self._backdrop, self._drawn, self._over = backdrop, box, NOTHING

    def draw_over(self, rectangle: Rectangle) -> None:
        """Something was drawn over the finished picture there: the next one lays it anew."""
        self._over = rectangle

    def forget(self) -> None:
        """Something else was drawn outside of the box: nothing is known of the frame any more."""
        self._backdrop = None

    def prepare(self, colour: Colour) -> Planes:
        """Make the frame ours again and say what its numbers will mean.

        An encoder or a filter may still hold the frame's buffer (a reference count above one).
        FFmpeg's av_frame_make_writable then moves the frame to a new buffer, and the old one
        stays as it was for whoever reads it; the views must follow.
        """
        self.frame.make_writable()
        self.frame.color_range = FULL if colour.full_range else LIMITED
        self.frame.colorspace = BT709 if colour.matrix is Matrix.BT709 else SMPTE170M
        self.frame.pict_type = 0  # whatever an encoder left there must not force a frame type
        address = self.frame.planes[0].buffer_ptr
        if address != self._address or self._planes.colour != colour:
            self._address = address
            self._planes = _views(self.frame)
        return self._planes


def around(outer: Rectangle, inner: Rectangle) -> list[Rectangle]:
    """outer without inner, in at most four rectangles."""
    left, top, right, bottom = outer
    x0, x1 = (min(max(edge, left), right) for edge in (inner[0], inner[2]))
    y0, y1 = (min(max(edge, top), bottom) for edge in (inner[1], inner[3]))
    if x0 >= x1 or y0 >= y1:
        pieces = [outer]
    else:
        pieces = [
            (left, top, right, y0),
            (left, y1, right, bottom),
            (left, y0, x0, y1),
            (x1, y0, right, y1),
        ]
    return [piece for piece in pieces if piece[0] < piece[2] and piece[1] < piece[3]]


class FramePool:
    """Output frames of one track, used again so that a frame costs no allocation.

    take() and give_back() may be called from different threads.
    """

    def __init__(self, limit: int = POOL_FRAMES) -> None:
        self._limit = limit
        self._idle: list[OutputFrame] = []
        self._lock = threading.Lock()

    def take(self, width: int, height: int) -> OutputFrame:
        with self._lock:
            if self._idle and (self._idle[-1].frame.width, self._idle[-1].frame.height) != (
                width,
                height,
            ):
                self._idle.clear()  # the size changed mid-stream: the old ones are of no use
            if self._idle:
                return self._idle.pop()
        return OutputFrame(width, height)

    def give_back(self, output: OutputFrame) -> None:
        with self._lock:
            if len(self._idle) < self._limit:
                same = not self._idle or (
                    self._idle[-1].frame.width == output.frame.width
                    and self._idle[-1].frame.height == output.frame.height
                )
                if same:
                    self._idle.append(output)

    @property
    def idle(self) -> int:
        """Frames waiting to be used again."""
        return len(self._idle)


class Scaler:
    """Scales a picture that is larger than the track's limit down, into buffers of its own."""

    def __init__(self, max_width: int, max_height: int) -> None:
        self._max_width = max_width
        self._max_height = max_height
        self.scale = 1.0
        """Of the width and height that the limits allow: below 1 to save CPU."""
        self._scaled: Planes | None = None

    def size(self, width: int, height: int, across: int = 1) -> tuple[int, int]:
        """The output size of a frame: within both limits, scaled, aspect kept, even.

        The limits are those of a landscape picture; a phone that is turned swaps them. across: so
        many such pictures must fit beside each other."""
        limits = (self._max_width, self._max_height)
        max_width, max_height = limits if width >= height else limits[::-1]
        factor = min(1.0, max_width / across / width, max_height / height)
        if self.scale < 1.0:
            least = SMALLEST_PX / (factor * max(width, height))
            factor *= min(1.0, max(self.scale, least))
        if factor == 1.0:
            return even(width, height)
        out_width, out_height = even(round(width * factor), round(height * factor))
        return max(2, out_width), max(2, out_height)

    def fit(self, source: Planes, across: int = 1) -> Planes:
        """The picture itself when it is small enough, else a smaller one (valid until the next)."""
        width, height = self.size(source.width, source.height, across)
        if (width, height) == source.size:
            return source
        scaled = self._scaled
        if scaled is None or scaled.size != (width, height) or scaled.colour != source.colour:
            scaled = self._scaled = empty(width, height, source.colour)
        for plane, smaller in zip(source.each(), scaled.each(), strict=True):
            # A quarter is two exact halvings: INTER_AREA has a fast path for a factor of two only.
            size = (smaller.shape[1], smaller.shape[0])
            cv2.resize(plane, size, dst=smaller, interpolation=cv2.INTER_AREA)
        return scaled


def empty(width: int, height: int, colour: Colour) -> Planes:
    """Uninitialised planes of an even size."""
    return Planes(
        np.empty((height, width), np.uint8),
        np.empty((height // 2, width // 2), np.uint8),
        np.empty((height // 2, width // 2), np.uint8),
        colour,
    )


def flat_of(buffer: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The first height x width items of a flat scratch buffer, as contiguous rows."""
    return buffer[: height * width].reshape(height, width)

"""A background that moves: a short film, decoded once to planes and played round and round.

Everything is bounded before or while it is decoded: bytes, pixels of a frame, frames, seconds, the
memory of what is kept (a film that is too large for it is kept smaller), and the time that all of
it takes. A film is played by the frames' media time, at its own rate; while one of its frames is
shown the background is the same bit for bit. service/session/films.py decodes, backdrop.py plays.
"""

from __future__ import annotations

import hashlib
import io
import time
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import cv2
import numpy as np

from service.errors import PictureError
from service.frame.background import FILL_BRIGHTNESS, FILL_SIGMA_SHARE, PlaneCache
from service.frame.colour import Colour, from_rgb, to_rgb
from service.frame.planes import U8, Planes, view
from service.policy.effects import Fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from numpy.typing import NDArray

MAX_SECONDS: Final = 30.0
LATEST_S: Final = 1e6
"""Times in a file beyond this are nonsense."""
MAX_FRAMES: Final = 900
"""Of the file: thirty seconds at thirty a second."""
MAX_PIXELS: Final = 1920 * 1088
"""Of one frame: 1080p, as its encoders round it."""
MAX_RATE: Final = 30
"""Frames a second that are kept, about: no camera shows more of them."""
CLOSEST_S: Final = 0.9 / MAX_RATE
"""A frame that follows another one sooner is left out: times are not exact."""
MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Of the planes of one film: 194 frames of 640x360, 48 of 1280x720."""
SMALLEST_PX: Final = 320
"""Longer side that a film is made smaller to at most, to fit the memory."""
DECODE_S: Final = 20.0
"""Time that decoding may take."""
CODECS: Final = frozenset({"h264", "vp8", "vp9", "av1", "libdav1d"})
EBML: Final = b"\x1a\x45\xdf\xa3"  # a Matroska file's first bytes, WebM's among them
NO_FILM: Final = "the film cannot be decoded as MP4 or WebM"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Film:
    """Decoded frames of one size, BT.601 in limited range, read only."""

    frames: tuple[Planes, ...]
    starts_s: tuple[float, ...]
    """When each is shown, from 0 on, growing."""
    duration_s: float
    """Of one round."""
    key: str
    """Names the film (the hash of its file)."""

    @property
    def nbytes(self) -> int:
        return sum(frame.nbytes for frame in self.frames)

    def at(self, now_s: float) -> int:
        """Number of the frame that is shown at that time."""
        return max(0, bisect_right(self.starts_s, now_s % self.duration_s) - 1)


def is_film(data: bytes) -> bool:
    """Whether a file begins like MP4 or WebM, whatever it is said to be."""
    return film_format(data) is not None


def decode_film(
    data: bytes,
    *,
    max_bytes: int,
    longest_px: int,
    memory_bytes: int = MEMORY_BYTES,
    decode_s: float = DECODE_S,
    first: bool = False,
) -> Film:
    """MP4 or WebM bytes to a Film. longest_px: of a frame's sides; what is larger is made smaller.
    first: its first frame alone.

    Raises PictureError with the limit that was passed.
    """
    if len(data) > max_bytes:
        raise PictureError(f"the film has {len(data)} bytes; at most {max_bytes} are taken")
    form = film_format(data)
    if form is None:
        raise PictureError(NO_FILM)
    deadline_s = time.monotonic() + decode_s
    try:
        # Our own bytes and one demuxer: nothing that a file names is ever opened.
        with av.open(io.BytesIO(data), "r", format=form) as container:
            return _decode(container, data, longest_px, memory_bytes, deadline_s, first)
    except PictureError:
        raise
    except Exception as exc:  # FFmpeg raises many types for broken data
        raise PictureError(NO_FILM) from exc


def film_format(data: bytes) -> str | None:
    """FFmpeg's word for what a file begins like; None: it is no film."""
    if data[4:8] == b"ftyp":
        return "mp4"
    return "webm" if data[:4] == EBML else None


def _decode(
    container: InputContainer,
    data: bytes,
    longest_px: int,
    memory_bytes: int,
    deadline_s: float,
    first: bool,
) -> Film:
    if not container.streams.video:
        raise PictureError("the film has no pictures")
    stream = container.streams.video[0]
    codec = stream.codec_context
    if codec.name not in CODECS:
        raise PictureError("the film's pictures must be H264, VP8, VP9 or AV1")
    _require_pixels(codec.width, codec.height)
    codec.thread_count = 1
    codec.options = {"max_pixels": str(MAX_PIXELS)}  # of a size that changes half-way too
    packets = [packet for packet in container.demux(stream) if packet.size]
    time_base = stream.time_base or Fraction(1, 1000)
    _require_length(packets)
    size, turns = (codec.width, codec.height), 0
    frames: list[Planes] = []
    starts_s: list[float] = []
    ends_s = 0.0
    kept = 1 if first else min(len(packets), int(_seconds(packets) / CLOSEST_S) + 2)
    for frame, at_s in _pictures(codec, packets, time_base, deadline_s):
        ends_s = max(ends_s, at_s)
        if starts_s and at_s - starts_s[-1] < CLOSEST_S:
            continue
        if not frames:
            turns = round(frame.rotation / 90) % 4
            size = _size(frame.width, frame.height, longest_px, kept, memory_bytes)
        elif len(frames) >= kept:
            raise PictureError(NO_FILM)  # more pictures than packets: the memory was not for these
        frames.append(_planes(frame, size, turns))
        starts_s.append(at_s)
        if first:
            break
    if not frames:
        raise PictureError(NO_FILM)
    first_s = starts_s[0]
    step_s = (ends_s - first_s) / (len(frames) - 1) if len(frames) > 1 else 1.0
    return Film(
        tuple(frames),
        tuple(start_s - first_s for start_s in starts_s),
        ends_s - first_s + step_s,
        hashlib.sha256(data).hexdigest()[:32],
    )


def _pictures(
    codec: av.VideoCodecContext, packets: list[Any], time_base: Fraction, deadline_s: float
) -> Iterator[tuple[av.VideoFrame, float]]:
    """Pictures and their times in s, which grow."""
    last_s = -1.0
    for packet in [*packets, None]:
        for frame in codec.decode(packet):
            if time.monotonic() > deadline_s:
                raise PictureError("the film takes too long to decode; make it shorter or smaller")
            _require_pixels(frame.width, frame.height)
            if frame.pts is None:
                continue
            at_s = float(frame.pts * time_base)  # what a flush gives out has no time base
            if not last_s < at_s < LATEST_S:
                continue
            last_s = at_s
            yield frame, at_s


def _require_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or min(width, height) < 2:
        raise PictureError(
            f"the film is {width}x{height} px; at most {MAX_PIXELS} pixels are taken"
        )


def _require_length(packets: list[Any]) -> None:
    if len(packets) > MAX_FRAMES:
        raise PictureError(f"the film has {len(packets)} frames; at most {MAX_FRAMES} are taken")
    if _seconds(packets) > MAX_SECONDS:
        raise PictureError(f"the film is longer than {MAX_SECONDS:.0f} s")


def _seconds(packets: list[Any]) -> float:
    times = [packet.pts * packet.time_base for packet in packets if packet.pts is not None]
    return float(max(times) - min(times)) if times else 0.0


def _size(
    width: int, height: int, longest_px: int, count: int, memory_bytes: int
) -> tuple[int, int]:
    """What a frame is kept at so that so many of them fit the memory; even."""
    longer = max(width, height)
    # 4:2:0: one and a half bytes a pixel.
    scale = min(
        1.0, longest_px / longer, float(np.sqrt(memory_bytes / (1.5 * count * width * height)))
    )
    if scale < 1.0 and scale * longer < SMALLEST_PX and longer > SMALLEST_PX:
        raise PictureError(
            f"the film is too long for {memory_bytes >> 20} MiB even at {SMALLEST_PX} px; make it "
            "shorter"
        )
    return max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)


def _planes(frame: av.VideoFrame, size: tuple[int, int], turns: int) -> Planes:
    small = frame.reformat(
        *size, format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", threads=1
    )
    y, u, v = (np.ascontiguousarray(np.rot90(plane, turns)) for plane in view(small).each())
    planes = Planes(y.copy(), u.copy(), v.copy(), Colour())
    for plane in planes.each():
        plane.flags.writeable = False
    return planes


def fitted_frame(
    film: Film, number: int, fit: Fit, size: tuple[int, int], colour: Colour, cache: PlaneCache
) -> Planes:
    """One frame of a film behind a picture of that (width, height) and meaning."""
    frame = film.frames[number]
    if frame.size == size and frame.colour == colour:
        return frame

    def make() -> Planes:
        planes = _covered(frame, size) if fit is Fit.COVER else _contained(frame, size)
        return planes if planes.colour == colour else _converted(planes, colour)

    return cache.get(("film", film.key, number, fit, size, colour), make)


def _covered(frame: Planes, size: tuple[int, int]) -> Planes:
    """The largest middle part that has the wanted shape, at the wanted size."""
    scale = max(size[0] / frame.width, size[1] / frame.height)
    part_w = min(frame.width, max(2, round(size[0] / scale / 2) * 2))
    part_h = min(frame.height, max(2, round(size[1] / scale / 2) * 2))
    left, top = (frame.width - part_w) // 4 * 2, (frame.height - part_h) // 4 * 2
    planes = [
        _resized(
            plane[top >> shift : top + part_h >> shift, left >> shift : left + part_w >> shift],
            (size[0] >> shift, size[1] >> shift),
        )
        for plane, shift in zip(frame.each(), (0, 1, 1), strict=True)
    ]
    return Planes(planes[0], planes[1], planes[2], frame.colour)


def _contained(frame: Planes, size: tuple[int, int]) -> Planes:
    """All of the frame in the middle; around it a dark, blurred enlargement of itself."""
    scale = min(size[0] / frame.width, size[1] / frame.height)
    part_w = min(size[0], max(2, round(frame.width * scale / 2) * 2))
    part_h = min(size[1], max(2, round(frame.height * scale / 2) * 2))
    left, top = (size[0] - part_w) // 4 * 2, (size[1] - part_h) // 4 * 2
    fill = _covered(frame, size)
    for number, (plane, into) in enumerate(zip(frame.each(), fill.each(), strict=True)):
        shift = int(number > 0)
        black = 128.0 if number else 16.0
        sigma = FILL_SIGMA_SHARE * into.shape[1]
        small = cv2.GaussianBlur(cv2.resize(into, None, fx=0.25, fy=0.25), (0, 0), sigma / 4)
        wide = cv2.resize(small, into.shape[::-1], interpolation=cv2.INTER_LINEAR)
        cv2.convertScaleAbs(
            wide, dst=into, alpha=FILL_BRIGHTNESS, beta=(1 - FILL_BRIGHTNESS) * black
        )
        part = _resized(plane, (part_w >> shift, part_h >> shift))
        into[top >> shift : top + part_h >> shift, left >> shift : left + part_w >> shift] = part
    return fill


def _converted(planes: Planes, colour: Colour) -> Planes:
    """The same picture in other numbers: both meanings are linear in RGB."""
    u, v = (cv2.resize(plane, planes.size) for plane in (planes.u, planes.v))
    there = np.vstack([to_rgb(planes.colour), [0.0, 0.0, 0.0, 1.0]])
    merged: NDArray[Any] = cv2.transform(cv2.merge([planes.y, u, v]), from_rgb(colour) @ there)
    y, u, v = cv2.split(merged)
    half = (planes.width // 2, planes.height // 2)
    return Planes(np.ascontiguousarray(y), _resized(u, half), _resized(v, half), colour)


def _resized(plane: NDArray[Any], size: tuple[int, int]) -> U8:
    smaller = size[0] < plane.shape[1] or size[1] < plane.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, size, interpolation=how), np.uint8)

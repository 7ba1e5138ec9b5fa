"""Clips that are encoded once, up front: a client then costs next to no CPU while it plays.

A clip starts with a lead-in that carries frame numbers (stamp.py) and plays while the server warms
up; what is measured is the part behind it, which is looped and as it was filmed. A keyframe begins
both, and comes every two seconds in between, so that a receiver that lost its way is back soon.
"""

from __future__ import annotations

import fractions
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, cast

import av
import cv2
import numpy as np
from av.video.frame import PictureType

from loadtest import scene, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

KEYFRAME_INTERVAL_S = 2
LEAD_IN_S = 2
LOOP_S = 12
"""Of a film at most; longer ones cost memory and show nothing new."""
BASE_BITRATE_BPS = 400_000
BITS_PER_PIXEL_S = 1.74
"""With the base 0.8 Mbit/s at 640x360 and 2.0 at 1280x720, as cameras are sent."""


class Codec(Enum):
    """What the client sends; the value is the name on the command line."""

    H264 = "h264"
    VP8 = "vp8"


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """Encoded frames, ready to be put into RTP packets."""

    codec: Codec
    width: int
    height: int
    fps: int
    frames: tuple[bytes, ...]
    keyframes: tuple[int, ...]
    "Indices into `frames`, rising, the first is 0."
    loop_from: int = 0
    "Where playing goes on after the last frame."
    numbered: int = 0
    "That many frames at the start carry their index as a number."
    place: stamp.Place = stamp.Place()  # noqa: RUF009 (frozen)

    def keyframe_before(self, index: int) -> int:
        """The last keyframe at or before a frame."""
        return max(key for key in self.keyframes if key <= index)


def prepare(
    film: Sequence[av.VideoFrame], codec: Codec, fps: int, *, place: stamp.Place | None
) -> EncodedClip:
    """Lead-in (numbered, unless `place` is None) and loop of a film of at least one frame."""
    lead_in = [film[index % len(film)] for index in range(LEAD_IN_S * fps)]
    if place is not None:
        lead_in = [_numbered(frame, index, place) for index, frame in enumerate(lead_in)]
    pictures = [*lead_in, *film]
    return encode(
        pictures,
        codec,
        fps,
        loop_from=len(lead_in),
        numbered=0 if place is None else len(lead_in),
        place=place or stamp.Place(),
    )


def encode(
    pictures: Sequence[av.VideoFrame],
    codec: Codec,
    fps: int,
    *,
    bitrate_bps: int | None = None,
    loop_from: int = 0,
    numbered: int = 0,
    place: stamp.Place = stamp.Place(),  # noqa: B008 (frozen)
) -> EncodedClip:
    """Encode yuv420p pictures of one even size, as a camera's encoder would."""
    width, height = pictures[0].width, pictures[0].height
    context = _encoder(codec, width, height, fps, bitrate_bps or camera_bitrate_bps(width, height))
    frames: list[bytes] = []
    keyframes: list[int] = []
    since_key = 0
    for index, picture in enumerate(pictures):
        key = index in (0, loop_from) or since_key >= KEYFRAME_INTERVAL_S * fps
        since_key = 1 if key else since_key + 1
        if key:
            keyframes.append(index)
        picture.pts, picture.time_base = index, context.time_base
        picture.pict_type = PictureType.I if key else PictureType.NONE
        frames.append(b"".join(bytes(packet) for packet in context.encode(picture)))
    if not all(frames):
        raise RuntimeError(f"the {codec.value} encoder held frames back")
    return EncodedClip(
        codec, width, height, fps, tuple(frames), tuple(keyframes), loop_from, numbered, place
    )


def camera_bitrate_bps(width: int, height: int) -> int:
    return BASE_BITRATE_BPS + round(BITS_PER_PIXEL_S * width * height)


def filmed(path: Path, size: tuple[int, int] | None, limit: int) -> list[av.VideoFrame]:
    """At most `limit` frames of a file as yuv420p, at its own (even) size or cropped to fill
    `size` (width, height)."""
    with av.open(str(path)) as container:
        decoded = islice(container.decode(video=0), limit)
        pictures = [_fitted(frame, size) for frame in decoded]
    if not pictures:
        raise ValueError(f"{path} has no video frame")
    return pictures


def rate_of(path: Path) -> int:
    """A film's frames per second, rounded; 30 when the file does not tell."""
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
    return round(rate) if rate else 30


def default_film(size: tuple[int, int], fps: int, seconds: int = LOOP_S) -> list[av.VideoFrame]:
    """The project's own test person in a plain room."""
    room = scene.plain_room(*size)
    return [picture_of(rgb) for rgb in scene.swaying(room, seconds * fps, fps)]


def picture_of(rgb: NDArray[np.uint8]) -> av.VideoFrame:
    """An H x W x 3 RGB picture of even size as yuv420p."""
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")


def luma_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The Y plane, H x W; memory of the frame."""
    plane = frame.planes[0]
    rows = np.frombuffer(cast("bytes", plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]


def _numbered(frame: av.VideoFrame, number: int, place: stamp.Place) -> av.VideoFrame:
    planes = frame.to_ndarray(format="yuv420p")
    luma = planes[: frame.height]
    stamp.draw(cast("NDArray[np.uint8]", luma), number, place)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _fitted(frame: av.VideoFrame, size: tuple[int, int] | None) -> av.VideoFrame:
    if size is None or (frame.width, frame.height) == size:
        width, height = frame.width // 2 * 2, frame.height // 2 * 2
        plain = frame.reformat(format="yuv420p", width=width, height=height)
        # A fresh picture: the decoder's own may not be written to, nor carry its picture type.
        return av.VideoFrame.from_ndarray(plain.to_ndarray(), format="yuv420p")
    rgb = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))
    width, height = size
    scale = max(width / frame.width, height / frame.height)
    cut_w, cut_h = round(width / scale), round(height / scale)
    left, top = (frame.width - cut_w) // 2, (frame.height - cut_h) // 2
    part = rgb[top : top + cut_h, left : left + cut_w]
    resized = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return picture_of(np.asarray(resized, np.uint8))


def _encoder(
    codec: Codec, width: int, height: int, fps: int, bitrate_bps: int
) -> VideoCodecContext:
    name = "libx264" if codec is Codec.H264 else "libvpx"
    context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate = bitrate_bps
    context.time_base = fractions.Fraction(1, fps)
    context.framerate = fractions.Fraction(fps, 1)
    context.gop_size = 10_000  # keyframes come where encode() wants them
    context.thread_count = 1
    rate = {"maxrate": str(bitrate_bps), "bufsize": str(bitrate_bps)}
    if codec is Codec.H264:
        context.profile = "Baseline"
        context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "sc_threshold": "0",
            **rate,
        }
    else:
        context.options = {
            "deadline": "realtime",
            "cpu-used": "-6",
            "lag-in-frames": "0",
            "auto-alt-ref": "0",
            **rate,
        }
    return context

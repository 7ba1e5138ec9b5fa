"""A film as the library keeps it: a track of pictures in a new file whose beginning tells its size.

Sound, subtitles and everything that the upload's file said of its making stay behind. What is
copied are packets: the pictures are those of the upload, bit for bit. film.py decodes them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from PIL import Image

from service.errors import PictureError
from service.frame.film import MAX_FRAMES, NO_FILM, Film, decode_film, film_format
from service.frame.picture import THUMBNAIL_QUALITY, Picture

if TYPE_CHECKING:
    from av.container import InputContainer

HEAD_BYTES: Final = 64 * 1024
"""In these a file that was written here tells its size: what describes its track is in front."""
MEDIA_TYPES: Final = {"mp4": "video/mp4", "webm": "video/webm"}
# Without an index of its frames, which would be as long as they are many.
OPTIONS: Final = {"mp4": {"movflags": "empty_moov+default_base_moof+frag_keyframe"}, "webm": {}}
THUMBNAIL_SECONDS: Final = 5.0
"""Time that its first picture may take."""


def film_type(head: bytes) -> str | None:
    """The media type of a file that begins so; None: it is no film."""
    form = film_format(head)
    return None if form is None else MEDIA_TYPES[form]


def stored_film(data: bytes) -> bytes:
    """The file that is kept of an uploaded film, which decode_film has yet to take. Raises
    PictureError."""
    form = film_format(data)
    if form is None:
        raise PictureError(NO_FILM)
    out = io.BytesIO()
    try:
        with (
            av.open(io.BytesIO(data), "r", format=form) as source,
            av.open(out, "w", format=form, options=OPTIONS[form]) as target,
        ):
            _copy(source, target)
    except PictureError:
        raise
    except Exception as exc:  # FFmpeg raises many types for broken data
        raise PictureError(NO_FILM) from exc
    return out.getvalue()


def _copy(source: InputContainer, target: av.container.OutputContainer) -> None:
    if not source.streams.video:
        raise PictureError("the film has no pictures")
    stream = source.streams.video[0]
    kept = target.add_stream_from_template(stream)
    count = 0
    for packet in source.demux(stream):
        if not packet.size:
            continue
        count += 1
        if count > MAX_FRAMES:
            raise PictureError(f"the film has more than {MAX_FRAMES} frames")
        packet.stream = kept
        target.mux(packet)


def film_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in px, as encoded, from the first HEAD_BYTES of a film that stored_film
    made; None: it is none."""
    form = film_format(head)
    if form is None:
        return None
    try:
        with av.open(io.BytesIO(head), "r", format=form) as container:
            codec = container.streams.video[0].codec_context
            size = codec.width, codec.height
    except Exception:  # FFmpeg raises many types for broken data
        return None
    return size if min(size) > 0 else None


def film_still(film: Film) -> Picture:
    """A film's first frame as a picture, of the same key."""
    frame = film.frames[0]
    flat = np.concatenate([plane.ravel() for plane in frame.each()])
    stacked = av.VideoFrame.from_ndarray(flat.reshape(-1, frame.width), format="yuv420p")
    shown = stacked.reformat(format="rgb24", src_colorspace="ITU601", src_color_range="MPEG")
    rgb = np.asarray(shown.to_ndarray(), np.uint8)
    rgb.flags.writeable = False
    return Picture(rgb, film.key)


def film_thumbnail(data: bytes, width_px: int) -> bytes:
    """Its first frame as a small WebP file of that width. Raises PictureError."""
    film = decode_film(
        data, max_bytes=len(data), longest_px=2 * width_px, decode_s=THUMBNAIL_SECONDS, first=True
    )
    small = Image.fromarray(film_still(film).rgb)
    small.thumbnail((width_px, 2 * width_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=THUMBNAIL_QUALITY)
    return out.getvalue()

"""Decoding a background picture that somebody uploaded: bounded, one frame, upright, sRGB.

Everything is refused that can be refused before pixels are decoded. Used by the session side
(pictures of the library and of one session); background.py fits the result to a frame.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps

from service.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 24_000_000
"""Pixels decoded at most: a 24-megapixel camera's picture, 72 MB as RGB."""
FORMATS = ("JPEG", "PNG", "WEBP")
RGBA_FORMATS = ("PNG", "WEBP")
MAX_SIDE_PX = 3840
"""Longest side kept after decoding: twice the widest frame served; more is never seen."""
MID_GREY = (128, 128, 128)
THUMBNAIL_QUALITY = 80
STORED_QUALITY = 90
STORED_METHOD = 2
"""Of libwebp's 0 to 6: at 3840x2160 a third of the CPU of the default, 4, for 6 % more bytes."""
WEBP_HEADER_BYTES = 30
"""In these every WebP file tells its size."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded background. rgb: H x W x 3 uint8, read only. key: names the pixels (their hash)."""

    rgb: NDArray[np.uint8]
    key: str


def decode_picture(
    data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: float = MAX_PIXELS
) -> Picture:
    """JPEG, PNG or WebP bytes to a Picture. Raises PictureError with the limit that was passed, or
    for a picture that moves."""
    if len(data) > max_bytes:
        raise PictureError(f"the picture has {len(data)} bytes; at most {max_bytes} are taken")
    try:
        with warnings.catch_warnings():
            # Pillow warns of a decompression bomb by its own limit; ours is checked below.
            warnings.simplefilter("ignore")
            return _decode(data, max_pixels)
    except PictureError:
        raise
    except Image.DecompressionBombError as exc:
        raise PictureError(f"the picture has more than {int(max_pixels)} pixels") from exc
    except Exception as exc:  # Pillow raises many types for broken data, struct.error included
        raise PictureError("the picture cannot be decoded as JPEG, PNG or WebP") from exc


def _decode(data: bytes, max_pixels: float) -> Picture:
    # Pillow's reader of WebP makes room for the pixels before it tells how many there are.
    if (size := webp_size(data)) is not None:
        _require_pixels(size, max_pixels)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _require_pixels(image.size, max_pixels)  # from the header, before any pixel is decoded
        # Not so for JPEG: what phones add there is a smaller copy, or a map of what is bright.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise PictureError("the picture moves; one that has a single frame is taken")
        image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))  # JPEG: decode at a smaller scale at once
        image.load()
        upright = ImageOps.exif_transpose(image)
    rgb = _flattened(_srgb(_eight_bits(upright)))
    if max(rgb.size) > MAX_SIDE_PX:
        rgb.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    pixels = np.array(rgb, dtype=np.uint8)
    pixels.flags.writeable = False
    digest = hashlib.sha256(pixels.tobytes())
    digest.update(repr(pixels.shape).encode())
    return Picture(pixels, digest.hexdigest()[:32])


def _require_pixels(size: tuple[int, int], most: float) -> None:
    width, height = size
    if width * height > most:
        raise PictureError(
            f"the picture is {width}x{height} px; at most {int(most)} pixels are taken"
        )


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as L; anything else as it is."""
    if image.mode not in ("I;16", "I;16B", "I;16L", "I"):
        return image
    return image.point(lambda value: value / 257).convert("L")


def _srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, its transparency kept, when it carries another colour profile that can
    be used: as RGB or RGBA then."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    alpha = _alpha(image)
    try:
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        described = _described(image, known.profile.xcolor_space.strip())
        if described is None:
            return image
        converted = ImageCms.profileToProfile(
            described, known, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a broken profile costs the exact colour, not the picture
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _alpha(image: Image.Image) -> Image.Image | None:
    """What of it is to be seen, as L: also of a palette's entries, or by one colour that is not."""
    if not image.has_transparency_data:
        return None
    return (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")


def _described(image: Image.Image, space: str) -> Image.Image | None:
    """The pixels that a profile of this colour space speaks of; None: of none of this picture."""
    grey = image.mode in ("1", "L", "LA")
    if space == "CMYK" or image.mode == "CMYK":
        return image if space == image.mode else None
    if space == "GRAY":
        return image.convert("L") if grey else None
    if space != "RGB":
        return None
    # Of a palette the profile describes the colours that it leads to; a grey is three like ones.
    return image if image.mode == "RGB" else image.convert("RGB")


def _flattened(image: Image.Image) -> Image.Image:
    """RGB; transparent parts become mid grey (no colour of ours stands out behind a person)."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, (*MID_GREY, 255))
    return Image.alpha_composite(ground, rgba).convert("RGB")


def decode_rgba(
    data: bytes, *, max_bytes: int, max_pixels: int, max_side_px: int
) -> NDArray[np.uint8]:
    """PNG or WebP bytes as H x W x 4 sRGB with its alpha, read only, the longer side scaled down to
    max_side_px. Raises PictureError with the limit that was passed."""
    if len(data) > max_bytes:
        raise PictureError(f"the picture has more than {max_bytes} bytes")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=RGBA_FORMATS) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > max_pixels:
                raise PictureError(
                    f"the picture is {width}x{height} px; at most {max_pixels} pixels are taken"
                )
            image.seek(0)
            image.load()
            rgba = _srgb(_eight_bits(image)).convert("RGBA")
    except PictureError:
        raise
    except Exception as exc:  # as in decode_picture
        raise PictureError("the picture cannot be decoded as PNG or WebP") from exc
    rgba.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    pixels = np.array(rgba, dtype=np.uint8)
    pixels.flags.writeable = False
    return pixels


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height in px of a picture file, from its header. Raises PictureError."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Exception as exc:  # as in decode_picture
        raise PictureError("the picture cannot be read as JPEG, PNG or WebP") from exc


def thumbnail(data: bytes, width_px: int) -> bytes:
    """A picture file as a small WebP file of that width. Raises PictureError."""
    small = Image.fromarray(decode_picture(data).rgb)
    small.thumbnail((width_px, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=THUMBNAIL_QUALITY)
    return out.getvalue()


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in px from the first WEBP_HEADER_BYTES of a WebP file; None: it is none."""
    if len(head) < WEBP_HEADER_BYTES or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    match head[12:16]:
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":  # RFC 6386 9.1: 14 bits each, then a scale
            return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
        case b"VP8L" if head[20] == 0x2F:  # RFC 9649 3.4: 14 bits each, less one
            bits = _little(head[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":  # RFC 9649 2.7: 24 bits each, less one
            return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    return None


def _little(part: bytes) -> int:
    return int.from_bytes(part, "little")


def stored_webp(picture: Picture) -> bytes:
    """A decoded picture as the file that the library keeps: pixels, and nothing else of what was
    uploaded (places, dates, thumbnails, whatever was hidden behind the picture)."""
    out = io.BytesIO()
    Image.fromarray(picture.rgb).save(out, "WEBP", quality=STORED_QUALITY, method=STORED_METHOD)
    return out.getvalue()

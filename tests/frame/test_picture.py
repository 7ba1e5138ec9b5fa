"""An uploaded picture is decoded within its limits, or refused with the limit in the message."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.errors import PictureError
from service.frame.picture import (
    MAX_SIDE_PX,
    WEBP_HEADER_BYTES,
    decode_picture,
    picture_size,
    stored_webp,
    thumbnail,
    webp_size,
)
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from collections.abc import Callable


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_header_only(width: int, height: int) -> bytes:
    """A bomb: a few bytes that claim to be a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_kinds_are_decoded(kind: str) -> None:
    rgb = astronaut()
    picture = decode_picture(encoded(Image.fromarray(rgb), kind))
    assert picture.rgb.shape == rgb.shape
    assert picture.rgb.dtype == np.uint8
    assert not picture.rgb.flags.writeable
    assert float(np.abs(picture.rgb.astype(int) - rgb).mean()) < 6


def test_key_names_the_pixels() -> None:
    image = Image.fromarray(astronaut())
    png = decode_picture(encoded(image, "PNG"))
    lossless = decode_picture(encoded(image, "WEBP", lossless=True))
    other = decode_picture(encoded(image.rotate(90), "PNG"))
    assert png.key == lossless.key
    assert png.key != other.key


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(PictureError, match="JPEG, PNG or WebP"):
        decode_picture(encoded(Image.new("RGB", (32, 32)), kind))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff\xe0" + b"\0" * 40, png_header_only(64, 64)]
)
def test_broken_data_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match="cannot be decoded"):
        decode_picture(data)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(PictureError, match="at most 1000 are taken"):
        decode_picture(b"\0" * 1001, max_bytes=1000)


@pytest.mark.parametrize("size", [(6000, 5000), (60000, 60000)])
def test_a_bomb_is_refused_before_its_pixels_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="24000000"):
        decode_picture(png_header_only(*size))


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 40, 10))  # white on top
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right when shown
    picture = decode_picture(encoded(image, "PNG", exif=exif.tobytes()))
    assert picture.rgb.shape == (40, 20, 3)
    assert picture.rgb[:, 15:].min() > 200
    assert picture.rgb[:, :5].max() < 50


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_mid_grey(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0)).convert(mode)
    options = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    picture = decode_picture(encoded(image, "PNG", **options))
    assert np.abs(picture.rgb.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    white: object = 65535 if mode == "I;16" else (0, 0, 0, 0) if mode == "CMYK" else 255
    picture = decode_picture(encoded(Image.new(mode, (16, 16), white), kind))  # type: ignore[arg-type]
    assert picture.rgb.min() >= 250


def test_a_colour_profile_is_taken_to_srgb() -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = Image.fromarray(astronaut())
    picture = decode_picture(encoded(image, "PNG", icc_profile=lab_like.tobytes()))
    assert int(np.abs(picture.rgb.astype(int) - astronaut()).max()) <= 2


def test_a_broken_profile_costs_nothing_but_the_profile() -> None:
    picture = decode_picture(
        encoded(Image.fromarray(astronaut()), "PNG", icc_profile=b"not a profile")
    )
    assert np.array_equal(picture.rgb, astronaut())


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_pictures_that_move_are_refused(kind: str) -> None:
    first, second = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (16, 16), "black")
    data = encoded(first, kind, save_all=True, append_images=[second])
    with pytest.raises(PictureError, match="moves"):
        decode_picture(data)


def test_a_phones_jpeg_with_another_picture_in_it_is_taken() -> None:
    first, second = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (8, 8), "black")
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert decode_picture(data).rgb.min() > 250


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM"}], ids=["VP8", "VP8L", "VP8X"]
)
def test_a_webp_files_size_is_in_its_first_bytes(options: dict[str, object]) -> None:
    data = encoded(Image.new("RGB", (1921, 37)), "WEBP", **options)
    assert webp_size(data[:WEBP_HEADER_BYTES]) == (1921, 37)
    assert webp_size(data[: WEBP_HEADER_BYTES - 1]) is None
    assert webp_size(b"\0" * WEBP_HEADER_BYTES) is None
    with pytest.raises(PictureError, match="at most 1000 pixels"):
        decode_picture(data[:WEBP_HEADER_BYTES], max_pixels=1000)


def test_what_is_stored_is_the_pixels_alone() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"  # ImageDescription
    image = Image.fromarray(astronaut())
    sent = encoded(image, "JPEG", exif=exif.tobytes(), quality=95) + b"<script>hidden</script>"
    kept = stored_webp(decode_picture(sent))
    assert b"taken at home" in sent
    assert b"taken at home" not in kept
    assert b"hidden" not in kept
    with Image.open(io.BytesIO(kept)) as read:
        assert (read.format, read.size, dict(read.getexif())) == ("WEBP", image.size, {})
    difference = np.abs(decode_picture(kept).rgb.astype(int) - astronaut())
    assert float(difference.mean()) < 6


def test_a_large_picture_is_kept_smaller() -> None:
    picture = decode_picture(encoded(Image.new("RGB", (5000, 1000), "navy"), "PNG"))
    assert picture.rgb.shape[1] == MAX_SIDE_PX
    assert picture.rgb.shape[0] == round(1000 * MAX_SIDE_PX / 5000)


def test_size_and_thumbnail() -> None:
    data = encoded(Image.fromarray(astronaut()[:256]), "PNG")
    assert picture_size(data) == (512, 256)
    small = thumbnail(data, 128)
    assert picture_size(small) == (128, 64)
    assert decode_picture(small).rgb.shape == (64, 128, 3)


@pytest.mark.parametrize("read", [picture_size, lambda data: thumbnail(data, 64)])
def test_size_and_thumbnail_of_broken_data(read: Callable[[bytes], object]) -> None:
    with pytest.raises(PictureError, match="JPEG, PNG or WebP"):
        read(b"not a picture")

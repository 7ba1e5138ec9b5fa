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
    decode_rgba,
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


def red_is_blue() -> bytes:
    """sRGB's profile, whose red primary is sRGB's blue and the other way round."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The signatures alone change places: the table of tags begins at byte 132 (ICC.1 7.3).
    (count,) = struct.unpack(">I", profile[128:132])
    end = 132 + 12 * count
    names = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
    tags = [profile[at : at + 12] for at in range(132, end, 12)]
    assert {tag[:4] for tag in tags} > names.keys()
    table = b"".join(names.get(tag[:4], tag[:4]) + tag[4:] for tag in tags)
    return profile[:132] + table + profile[end:]


def linear_grey() -> bytes:
    """A grey that is light itself: half of it is 188 of sRGB (IEC 61966-2-1)."""
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + bytes(8)  # no points: what goes in comes out
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 12)
    size = 128 + len(tags) + len(white) + len(curve)
    head = struct.pack(">IIIII", size, 0, 0x04000000, 0x6D6E7472, 0x47524159)  # mntr, GRAY
    illuminant = struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    header = head + b"XYZ " + bytes(12) + b"acsp" + bytes(28) + illuminant + bytes(48)
    assert len(header) == 128
    return header + tags + white + curve


RED, BLUE = (255, 0, 0), (0, 0, 255)


def near(pixel: object, wanted: tuple[int, ...]) -> bool:
    return bool(np.abs(np.asarray(pixel, dtype=int) - wanted).max() <= 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_colour_profile_is_taken_to_srgb(kind: str) -> None:
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.new("RGB", (16, 16), RED), kind, icc_profile=red_is_blue(), **lossless)
    picture = decode_picture(data)
    assert near(picture.rgb, BLUE)


def half_clear(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """Red at the left, and nothing to be seen at the right, by each way that a file has to say so;
    and what to save it with."""
    image = Image.new("RGBA", (16, 16), (*RED, 255))
    image.paste((0, 255, 0, 0), (8, 0, 16, 16))
    if mode == "RGBA":
        return image, {}
    rgb = image.convert("RGB")
    if mode == "RGB":
        return rgb, {"transparency": (0, 255, 0)}
    palette = rgb.quantize(2)
    clear = palette.getpixel((15, 0))
    # One entry that is clear, or how clear each of them is.
    opacities = bytes(0 if index == clear else 255 for index in range(2))
    return palette, {"transparency": clear if mode == "P" else opacities}


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "P", "P with opacities"])
def test_a_profile_and_transparency(mode: str) -> None:
    image, options = half_clear(mode)
    data = encoded(image, "PNG", icc_profile=red_is_blue(), **options)
    picture = decode_picture(data)
    assert near(picture.rgb[:, :8], BLUE)
    assert near(picture.rgb[:, 8:], (128, 128, 128))
    rgba = decode_rgba(data, max_bytes=10_000, max_pixels=10_000, max_side_px=16)
    assert near(rgba[:, :8], (*BLUE, 255))
    assert not rgba[:, 8:, 3].any()


def test_a_palette_and_a_profile() -> None:
    palette = Image.new("RGB", (16, 16), RED).quantize(2)
    data = encoded(palette, "PNG", icc_profile=red_is_blue())
    with Image.open(io.BytesIO(data)) as read:
        assert read.mode == "P"
    assert near(decode_picture(data).rgb, BLUE)


@pytest.mark.parametrize(
    ("mode", "half"), [("L", 128), ("LA", (128, 255)), ("I;16", 128 * 257)], ids=["L", "LA", "I;16"]
)
def test_a_grey_and_a_profile(mode: str, half: object) -> None:
    image = Image.new(mode, (16, 16), half)  # type: ignore[arg-type]
    data = encoded(image, "PNG", icc_profile=linear_grey())
    with Image.open(io.BytesIO(data)) as read:
        assert read.mode == mode
    picture = decode_picture(data)
    assert near(picture.rgb, (188, 188, 188))


def test_a_grey_that_is_clear_and_a_profile() -> None:
    image = Image.new("LA", (16, 16), (128, 255))
    image.paste((128, 0), (8, 0, 16, 16))
    picture = decode_picture(encoded(image, "PNG", icc_profile=linear_grey()))
    assert near(picture.rgb[:, :8], (188, 188, 188))
    assert near(picture.rgb[:, 8:], (128, 128, 128))


def test_a_grey_whose_profile_is_of_colours() -> None:
    """As scanners write it: three like parts are a grey, of these primaries too."""
    data = encoded(Image.new("L", (16, 16), 90), "PNG", icc_profile=red_is_blue())
    assert near(decode_picture(data).rgb, (90, 90, 90))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P"])
def test_a_profile_of_something_else_is_passed_over(mode: str) -> None:
    image = Image.new("RGB", (16, 16), RED)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    data = encoded(image, kind, icc_profile=linear_grey())
    assert near(decode_picture(data).rgb, RED)


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

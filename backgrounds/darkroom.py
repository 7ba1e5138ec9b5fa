"""From linear light to a finished picture: defocus, tone, vignette, grain and the WebP file.

Pictures are float32 (h, w, 3) RGB in linear light until `developed` makes them 8 bit sRGB. Lengths
are parts of the picture's height, so that a picture looks the same at every size.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image
from solids import Floats, Triple, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEBP_QUALITY = 97
"""High for WebP: below it the encoder irons the dither out, and soft walls show bands."""
GRAIN_LEVELS = 0.9
"""Standard deviation of the grain in 8 bit levels: enough to break up bands, not to be seen."""
LUMA = vector((0.2126, 0.7152, 0.0722))


def linear(code: str) -> Triple:
    """The linear light of an sRGB colour written as six hexadecimal digits."""
    values = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values
    )
    return red, green, blue


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """0 up to `low`, 1 from `high` on, and a soft S between them."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), np.float32)


def grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """x and y of every pixel in picture heights, from the middle, y downward (-0.5 to 0.5)."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return (columns + 0.5 - width / 2) / height, (rows + 0.5) / height - 0.5


def clouds(
    size: tuple[int, int],
    seed: int,
    *,
    cell: tuple[float, float] = (0.5, 0.5),
    octaves: int = 5,
    persistence: float = 0.5,
) -> Floats:
    """Fractal noise (h, w) of mean 0 and deviation 1; `cell` is its coarsest grain, wide, high."""
    width, height = size
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = int(np.ceil(width / height / cell[0] * 2**octave)) + 3
        rows = int(np.ceil(1 / cell[1] * 2**octave)) + 3
        # Drawn before the size is looked at: a small picture has the clouds of the large one.
        knots = random.standard_normal((rows, columns), np.float32)
        x, y = grid(size)
        x = x * (2**octave / cell[0]) + columns / 2
        y = y * (2**octave / cell[1]) + rows / 2
        total += persistence**octave * cv2.remap(
            knots, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    return np.asarray((total - total.mean()) / total.std(), np.float32)


def defocused(picture: Floats, radius: float, *, blades: int = 0) -> Floats:
    """The picture through a wide open lens: every point a disc, with `blades` straight sides."""
    spread = radius * picture.shape[0]
    if spread < 0.6:
        return picture
    reach = int(np.ceil(spread)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    distance = np.hypot(x, y)
    if blades:
        sector = 2 * np.pi / blades
        turn = (np.arctan2(y, x) + 0.3) % sector - sector / 2
        # Between the polygon and its circle: real blades are curved.
        polygon = distance * np.cos(turn) / np.cos(sector / 4)
        distance = 0.5 * distance + 0.5 * polygon
    kernel = np.clip(spread - distance + 0.5, 0, 1)
    kernel = kernel * (1 + 0.25 * (distance / spread) ** 2)
    kernel = kernel / kernel.sum()
    return np.asarray(
        cv2.filter2D(picture, cv2.CV_32F, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT),
        np.float32,
    )


def softened(picture: Floats, radius: float) -> Floats:
    """The picture under a Gaussian of this standard deviation."""
    blurred = cv2.GaussianBlur(
        picture, (0, 0), max(radius * picture.shape[0], 0.1), borderType=cv2.BORDER_REFLECT
    )
    return np.asarray(blurred, np.float32)


def focused_at(picture: Floats, depth_m: Floats, *, focus_m: float, aperture: float) -> Floats:
    """The picture with the lens focused on someone nearer: blur grows with depth to `aperture`."""
    sharp = aperture * np.maximum(1 - focus_m / np.maximum(depth_m, focus_m), 0)
    circle = softened(sharp.astype(np.float32), aperture / 2)
    steps = np.linspace(float(circle.min()), float(circle.max()) + 1e-6, 5)
    result = np.zeros_like(picture)
    for step in steps:
        part = np.clip(1 - np.abs(circle - step) / (steps[1] - steps[0]), 0, 1).astype(np.float32)
        result += defocused(picture, float(step)) * part[..., None]
    return result


def bloomed(picture: Floats, amount: float, radius: float) -> Floats:
    """The picture with part of its light scattered in the lens."""
    scattered = 0.6 * softened(picture, radius) + 0.4 * softened(picture, radius * 3)
    return np.asarray(picture * (1 - amount) + scattered * amount, np.float32)


def developed(
    picture: Floats,
    seed: int,
    *,
    exposure: float = 1.0,
    white: Triple = (1.0, 1.0, 1.0),
    contrast: float = 0.0,
    saturation: float = 1.0,
    vignette: float = 0.25,
) -> NDArray[np.uint8]:
    """The print: `white` is the light that shall look neutral, the shoulder keeps lamps soft."""
    height, width = picture.shape[:2]
    x, y = grid((width, height))
    falloff = 1 - vignette * smoothstep(0.2, 1.15, np.hypot(x, y * 1.2))
    light = picture / vector(white) * exposure * falloff[..., None]
    grey = (light @ LUMA)[..., None]
    light = np.maximum(grey + (light - grey) * saturation, 0)
    # A shoulder on the brightness keeps the colour; one on each channel lets it pale. Film is
    # between the two.
    grey = np.maximum((light @ LUMA)[..., None], 1e-6)
    tone = 0.4 * light * (shouldered(grey) / grey) + 0.6 * shouldered(light)
    tone = np.clip(tone, 0, 1)
    encoded = np.where(tone <= 0.0031308, 12.92 * tone, 1.055 * tone ** (1 / 2.4) - 0.055)
    encoded = encoded + contrast * (encoded * encoded * (3 - 2 * encoded) - encoded)
    random = np.random.default_rng((seed, 7))
    grain = random.standard_normal((height, width, 1), np.float32) * GRAIN_LEVELS
    dither = random.random((height, width, 3), np.float32) - 0.5
    return np.asarray(np.clip(np.rint(encoded * 255 + grain + dither), 0, 255), np.uint8)


def shouldered(light: Floats) -> Floats:
    """Light up to 0.5 as it is, and what lies above pressed toward 1."""
    knee = np.float32(0.5)
    over = np.maximum(light - knee, 0) / (1 - knee)
    return np.asarray(np.minimum(light, knee) + (1 - knee) * (1 - np.exp(-over)), np.float32)


def webp(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of the picture's file."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "WEBP", quality=WEBP_QUALITY, method=6)
    return out.getvalue()

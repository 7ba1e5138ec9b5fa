"""Pictures painted rather than furnished: a misty dawn, a studio canvas, and the lights of a city.

darkroom.py gives the brushes and the print; the city hangs behind a window built as rooms.py does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from darkroom import clouds, developed, grid, linear, smoothstep, softened
from solids import Floats, Triple, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _blend(low: Triple, high: Triple, part: Floats) -> Floats:
    part = part[..., None]
    return np.asarray(vector(low) * (1 - part) + vector(high) * part, np.float32)


def dawn(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Ridges one behind the other in morning mist, the sun just below them on the right."""
    x, y = grid(size)
    picture = _blend(linear("9db4cf"), linear("f6d9c0"), smoothstep(-0.62, 0.25, y))
    sun = np.exp(-(((x - 0.42) / 0.62) ** 2) - ((y - 0.16) / 0.34) ** 2)
    picture += sun[..., None] * vector((0.62, 0.30, 0.10))
    picture *= 1 + 0.035 * clouds(size, seed, cell=(1.4, 0.16), octaves=4)[..., None]
    ridges = 5
    for number in range(ridges):
        near = number / (ridges - 1)
        profile = clouds(size, seed + 10 + number, cell=(0.75 - 0.2 * near, 9.0), octaves=5)[:1]
        crest = 0.14 + 0.30 * near**1.1 - (0.035 + 0.022 * near) * profile
        depth = y - crest
        shade = _blend(linear("c9b3b8"), linear("3f4c66"), np.full_like(y, near**0.8))
        # Mist lies level in the valley below each ridge, and glows where the sun stands behind it.
        valley = 0.14 + 0.30 * near**1.1
        mist = smoothstep(valley - 0.03, valley + 0.13, y) * (0.85 - 0.45 * near)
        haze = _blend(linear("d9c3c2"), linear("ffd9b0"), np.clip(sun * 1.2, 0, 1))
        body = shade * (1 - mist[..., None]) + haze * mist[..., None]
        body = body * (1 + 0.5 * sun[..., None] * (1 - near))
        edge = 0.0035 + 0.004 * near
        cover = smoothstep(-edge, edge, depth)[..., None]
        picture = np.asarray(picture * (1 - cover) + body * cover, np.float32)
    picture = softened(np.asarray(picture, np.float32), 0.009)
    return developed(picture, seed, exposure=1.0, contrast=0.1, vignette=0.12)


def slate(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A hand-painted grey-blue studio canvas, with a soft lamp on it behind the head."""
    x, y = grid(size)
    paint = 0.055 * clouds(size, seed, cell=(0.40, 0.34), octaves=6, persistence=0.6)
    strokes = 0.03 * clouds(size, seed + 1, cell=(0.10, 0.05), octaves=4, persistence=0.6)
    canvas = _blend(linear("56626e"), linear("7d8891"), smoothstep(-2, 2, paint * 10))
    canvas = canvas * np.exp(paint + strokes)[..., None]
    spot = np.exp(-((np.hypot(x / 0.85, (y + 0.06) / 0.62)) ** 2))
    key = _blend((0.30, 0.33, 0.38), (1.95, 1.90, 1.80), np.asarray(spot, np.float32))
    picture = softened(np.asarray(canvas * key, np.float32), 0.004)
    return developed(picture, seed, exposure=0.95, vignette=0.3)


CITY_PX = (2400, 1350)
LIT_WINDOWS = ("ffcf8f", "ffdca8", "ffe9c9", "ffc27a", "e9f1ff")


def skyline(seed: int) -> Floats:
    """A city after sunset in linear light, sharp: row upon row of towers with lit windows."""
    width, height = CITY_PX
    random = np.random.default_rng(seed)
    x, y = grid(CITY_PX)
    picture = _blend(linear("20305a"), linear("6d6f9c"), smoothstep(-0.5, -0.1, y))
    picture = picture * 0.9
    glow = np.exp(-(((y - 0.12) / 0.16) ** 2)) * (0.55 + 0.45 * np.exp(-(((x - 0.5) / 0.7) ** 2)))
    picture += glow[..., None] * vector((0.62, 0.26, 0.13))
    for layer in range(4):
        near = layer / 3
        shade = vector(linear("5d5672")) * (1 - near) + vector(linear("141a2b")) * near
        left = -int(random.integers(0, 80))
        while left < width:
            wide = int(random.integers(60, 150) * (0.7 + 0.8 * near))
            # Towers stand toward the sides: behind the head the sky stays open.
            aside = abs((left + wide / 2) / width - 0.5) * 2
            rise = random.uniform(0.02, 0.13) + 0.30 * aside**1.6 * random.uniform(0.3, 1)
            top = int(height * (0.60 + 0.10 * near - rise))
            picture[top:, max(left, 0) : left + wide] = shade * random.uniform(0.85, 1.15)
            _light_windows(picture, left, wide, top, near, random)
            left += wide + int(random.integers(0, 30))
    _light_streets(picture, random)
    return picture


def _light_windows(
    picture: Floats, left: int, wide: int, top: int, near: float, random: np.random.Generator
) -> None:
    pitch = int(11 + 9 * near)
    share = random.uniform(0.03, 0.16)
    for row in range(top + pitch, CITY_PX[1], pitch):
        for column in range(left + pitch // 2, left + wide - pitch // 2, pitch):
            if column < 0 or random.random() > share:
                continue
            colour = vector(linear(LIT_WINDOWS[random.integers(len(LIT_WINDOWS))]))
            strength = random.lognormal(0.6, 0.9) * (0.5 + 0.5 * near)
            size = pitch // 2
            picture[row : row + size, column : column + size] = colour * min(strength, 14)


def _light_streets(picture: Floats, random: np.random.Generator) -> None:
    """Street lamps, brake lights and signals: points far brighter than any window."""
    width, height = CITY_PX
    for _ in range(90):
        at = (int(random.uniform(0, width)), int(height * random.uniform(0.70, 0.98)))
        kind = random.random()
        code = "ff4a2a" if kind < 0.18 else "bfe4ff" if kind < 0.28 else "ffb45e"
        colour = vector(linear(code)) * random.uniform(10, 40)
        cv2.circle(picture, at, 4, tuple(float(c) for c in colour), -1)


GARDEN_PX = (1600, 900)


def garden(seed: int) -> Floats:
    """Trees in sunlight behind a lawn, in linear light: dabs of leaves, and sky between them."""
    width, height = GARDEN_PX
    random = np.random.default_rng(seed)
    _, y = grid(GARDEN_PX)
    picture = _blend(linear("dcecf8"), linear("f4f6f2"), smoothstep(-0.5, 0.0, y)) * 1.5
    for layer in range(3):
        near = layer / 2
        for _ in range(26 - 6 * layer):
            middle = (random.uniform(-0.05, 1.05) * width, height * random.uniform(0.34, 0.46))
            _paint_crown(
                picture, middle, random.uniform(70, 150) * (0.8 + 0.5 * near), near, random
            )
    # A hazy hedge closes the gaps under the crowns.
    hedge = smoothstep(-0.10, -0.02, y)[..., None]
    picture = np.asarray(picture * (1 - hedge) + vector(linear("7c9466")) * hedge, np.float32)
    lawn = smoothstep(0.035, 0.06, y)[..., None]
    grass = _blend(linear("b4bf98"), linear("8c9c72"), smoothstep(0.05, 0.4, y)) * 1.15
    picture = np.asarray(picture * (1 - lawn) + grass * lawn, np.float32) * 1.25
    for _ in range(110):
        at = (int(random.uniform(0, width)), int(height * random.uniform(0.14, 0.50)))
        light = vector((1.0, 1.0, 0.86)) * random.uniform(1.2, 3.2)
        cv2.circle(picture, at, 3, tuple(float(c) for c in light), -1, cv2.LINE_AA)
    return picture


def _paint_crown(
    picture: Floats,
    middle: tuple[float, float],
    radius: float,
    near: float,
    random: np.random.Generator,
) -> None:
    """One tree's crown: loose dabs, lit from above on the right, paler with distance."""
    hue = vector(linear(("7f9a5a", "8da268", "6f8f5f", "a3a868")[random.integers(4)]))
    haze = vector(linear("dfe8dc"))
    for _ in range(170):
        turn, out = random.uniform(0, 2 * np.pi), np.sqrt(random.random())
        dx, dy = np.cos(turn) * out, np.sin(turn) * out
        lit = 0.75 + 0.45 * (0.4 * dx - 0.8 * dy) + random.normal(0, 0.18)
        colour = hue * max(lit, 0.25) * (1 - 0.35 * near)
        colour = colour * (0.45 + 0.55 * near) + haze * (0.55 - 0.55 * near) * 0.9
        at = (int(middle[0] + dx * radius * 1.15), int(middle[1] + dy * radius))
        size = int(radius * random.uniform(0.06, 0.16))
        cv2.circle(picture, at, size, tuple(float(c) for c in colour), -1, cv2.LINE_AA)

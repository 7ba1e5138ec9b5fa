"""What the rooms are furnished with: their shell, uneven paints, plants, books and chairs.

rooms.py and windows.py arrange it; solids.py gives the bodies it is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from darkroom import linear
from solids import Ball, Box, Drum, Floats, Paint, Solid, Texture, Triple, vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE_PX = 512


def mottled(
    amount: float, cell_m: float, seed: int, *, stretch: Triple = (1, 1, 1), octaves: int = 4
) -> Texture:
    """Cloudy unevenness by `amount` around 1; a stretched axis has longer clouds (wood's grain)."""
    random = np.random.default_rng(seed)
    tile = np.zeros((TILE_PX, TILE_PX), np.float32)
    for octave in range(octaves):
        knots = random.standard_normal((8 << octave, 8 << octave)).astype(np.float32)
        around = np.pad(knots, 2, mode="wrap")
        scale = TILE_PX // (8 << octave)
        large = cv2.resize(around, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        inner = slice(2 * scale, 2 * scale + TILE_PX)
        tile += np.asarray(large[inner, inner] / 1.7**octave, np.float32)
    tile = tile / tile.std()

    def texture(points: Floats) -> Floats:
        x, y, z = (points[i] / (cell_m * stretch[i]) * (TILE_PX / 8) for i in range(3))
        # A slanted cut through the tile serves every wall, whichever way it faces.
        u, v = (x + 0.37 * z) % TILE_PX, (y + 0.71 * z) % TILE_PX
        noise = cv2.remap(
            tile,
            u[None].astype(np.float32),
            v[None].astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )[0]
        return np.asarray(np.maximum(1 + amount * noise, 0.05), np.float32)

    return texture


def hung(painting: Floats, *, left_m: float, top_m: float, wide_m: float) -> Texture:
    """A painting in linear light hung up as a glow, from its top left corner."""
    scale = painting.shape[1] / wide_m

    def texture(points: Floats) -> Floats:
        u = ((points[0] - left_m) * scale).astype(np.float32)
        v = ((top_m - points[1]) * scale).astype(np.float32)
        found = cv2.remap(
            painting, u[None], v[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        return np.ascontiguousarray(found[0].T, dtype=np.float32)

    return texture


def shell(
    low: Triple, high: Triple, *, wall: Paint, floor: Paint, ceiling: Paint
) -> list[list[Solid]]:
    """Floor, ceiling and four walls, each a slab outside the given space."""
    (x0, y0, z0), (x1, y1, z1), t = low, high, 0.1
    return [
        [Box((x0 - t, y0 - t, z0 - t), (x1 + t, y0, z1 + t), floor)],
        [Box((x0 - t, y1, z0 - t), (x1 + t, y1 + t, z1 + t), ceiling)],
        [Box((x0 - t, y0, z0), (x0, y1, z1), wall)],
        [Box((x1, y0, z0), (x1 + t, y1, z1), wall)],
        [Box((x0, y0, z1), (x1, y1, z1 + t), wall)],
        [Box((x0, y0, z0 - t), (x1, y1, z0), wall)],
    ]


def plant(
    foot: Triple,
    seed: int,
    *,
    height_m: float = 0.7,
    reach_m: float = 0.4,
    stems: int = 14,
    leaf_m: tuple[float, float] = (0.26, 0.10),
    green: Triple = (0.055, 0.13, 0.045),
) -> list[Solid]:
    """A leafy pot plant without its pot: stems fan out from the foot, leaves along each."""
    random = np.random.default_rng(seed)
    base = np.array(foot)
    leaves: list[Solid] = []
    for stem in range(stems):
        turn = stem * 2.39996 + random.normal(0, 0.2)
        lean = np.sqrt((stem + 0.5) / stems)
        top = base + np.array(
            (
                np.cos(turn) * lean * reach_m,
                height_m * (1.05 - 0.55 * lean**2) * random.uniform(0.85, 1.1),
                np.sin(turn) * lean * reach_m,
            )
        )
        shade = random.uniform(0.7, 1.35)
        paint = Paint((green[0] * shade * random.uniform(0.9, 1.4), green[1] * shade, green[2]))
        leaves.append(leaf(base, top, 0.012, -0.02, Paint((0.06, 0.09, 0.03))))
        for place in (0.55, 0.8, 1.0):
            root = base + (top - base) * place
            out = turn + random.normal(0, 0.9)
            size = leaf_m[0] * random.uniform(0.75, 1.2)
            rise = random.uniform(-0.35, 0.75)
            flat = np.sqrt(1 - rise**2)
            tip = root + np.array((np.cos(out) * flat, rise, np.sin(out) * flat)) * size
            leaves.append(leaf(root, tip, leaf_m[1] * random.uniform(0.8, 1.2), 0.0, paint))
    return leaves


def leaf(root: Floats, tip: Floats, width_m: float, sag_m: float, paint: Paint) -> Ball:
    """A flat blade from root to tip, its face turned half up, half to the camera."""
    along = (tip - root) / 2
    facing = np.cross(along, (0.2, 0.9, -0.6))
    across = facing / max(float(np.linalg.norm(facing)), 1e-6) * (width_m / 2)
    thick = np.cross(along, across)
    thick = thick / max(float(np.linalg.norm(thick)), 1e-6) * 0.004
    centre = (root + tip) / 2 - vector((0, sag_m, 0))
    return Ball(triple(centre), (triple(along), triple(across), triple(thick)), paint)


def triple(values: NDArray[np.floating]) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z


def chair(x: float, z: float, fabric: Paint, leg: Paint, side: float) -> list[Solid]:
    """A meeting chair whose back is toward `side` (-1 left, 1 right)."""
    back = sorted((x + side * 0.22, x + side * 0.28))
    return [
        Box((x - 0.23, 0.42, z - 0.23), (x + 0.23, 0.50, z + 0.23), fabric),
        Box((back[0], 0.52, z - 0.22), (back[1], 0.92, z + 0.22), fabric),
        *(Drum((x + dx, 0, z + dz), 0.012, 0.42, leg) for dx in (-0.2, 0.2) for dz in (-0.2, 0.2)),
    ]


BOOK_COLOURS = (
    "6e2f2a",
    "8a5a3c",
    "c2a173",
    "e0d3b8",
    "3d4a45",
    "2f3f52",
    "56697a",
    "a3392f",
    "d8cbb0",
    "3a2b27",
    "7d7f6a",
    "b58b4c",
    "efe7d6",
    "4b5d4a",
    "27303a",
    "94705a",
    "c9bda6",
    "5b3a4a",
)


def books(low: Triple, width_m: float, height_m: float, seed: int) -> list[Solid]:
    """A compartment's row of books from the left, with now and then a gap or a stack."""
    random = np.random.default_rng(seed)
    x, end = low[0] + 0.01, low[0] + width_m - 0.02
    stop = end - (random.uniform(0.15, 0.5) * width_m if random.random() < 0.45 else 0)
    row: list[Solid] = []
    tall = random.uniform(0.66, 0.8) * height_m
    colour = linear(BOOK_COLOURS[random.integers(len(BOOK_COLOURS))])
    while True:
        thick = random.uniform(0.018, 0.05)
        if x + thick > stop:
            break
        # Series stand together: some books take their neighbour's colour and height.
        if random.random() < 0.7:
            colour = linear(BOOK_COLOURS[random.integers(len(BOOK_COLOURS))])
            tall = random.uniform(0.6, 0.88) * height_m
        front = low[2] + random.uniform(0.01, 0.04)
        row.append(Box((x, low[1], front), (x + thick, low[1] + tall, front + 0.2), Paint(colour)))
        x += thick + 0.001
    if end - x > 0.2:
        y = low[1]
        for _ in range(int(random.integers(2, 5))):
            thick, inset = random.uniform(0.02, 0.045), random.uniform(0.01, 0.04)
            colour = linear(BOOK_COLOURS[random.integers(len(BOOK_COLOURS))])
            row.append(
                Box(
                    (end - 0.2 + inset, y, low[2] + 0.03),
                    (end, y + thick, low[2] + 0.18),
                    Paint(colour),
                )
            )
            y += thick
    return row

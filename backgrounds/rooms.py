"""The closed rooms: where things stand, which lamps are lit, and the picture taken of each.

furniture.py gives the things, light.py the lamps and the camera, darkroom.py the print. The person
sits in the middle of the picture, so what is worth seeing stands in the outer thirds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from darkroom import bloomed, developed, focused_at, linear
from furniture import books, mottled, plant, shell
from light import Bulb, Camera, Lamp, Panel, Sun, photograph
from solids import Ball, Box, Drum, Paint, Room, Solid

if TYPE_CHECKING:
    from numpy.typing import NDArray


def studio_office(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A desk with a lit lamp on the left, a framed picture and a plant on the right."""
    wall = Paint(linear("b9c1b6"), texture=mottled(0.02, 0.5, seed))
    oak = Paint(linear("a9805a"), texture=mottled(0.10, 0.03, seed + 1, stretch=(14, 1, 1)))
    white = Paint(linear("e9e6e0"))
    black = Paint(linear("2a2a2a"))
    groups = shell(
        (-3.0, 0, -1.5),
        (2.6, 2.7, 3.1),
        wall=wall,
        ceiling=white,
        floor=Paint(linear("9b7a58"), texture=mottled(0.08, 0.06, seed + 2, stretch=(1, 1, 10))),
    )
    groups.append(
        [
            Box((-2.3, 0.70, 2.35), (-0.55, 0.74, 3.05), oak),
            Box((-2.26, 0, 2.4), (-2.20, 0.70, 3.0), black),
            Box((-0.65, 0, 2.4), (-0.59, 0.70, 3.0), black),
            Box((-1.2, 0.74, 2.65), (-0.92, 0.765, 2.87), Paint(linear("59636b"))),
            Box((-1.18, 0.765, 2.66), (-0.95, 0.79, 2.86), Paint(linear("c9b79a"))),
            Box((-1.17, 0.79, 2.67), (-0.97, 0.82, 2.85), Paint(linear("8a4b3a"))),
            Drum((-2.05, 0.74, 2.8), 0.05, 0.10, Paint(linear("d8d2c4"))),
        ]
    )
    groups.append(
        [
            Drum((-1.62, 0.74, 2.75), 0.09, 0.02, black),
            Drum((-1.62, 0.76, 2.75), 0.011, 0.36, Paint(linear("a8884e"))),
            Drum((-1.62, 1.07, 2.75), 0.17, 0.22, Paint((0, 0, 0), (1.9, 1.22, 0.66)), taper=0.72),
        ]
    )
    groups.append(
        [
            Box((0.83, 1.22, 3.06), (1.55, 2.12, 3.10), Paint(linear("3a332c"))),
            Box((0.86, 1.25, 3.05), (1.52, 2.09, 3.07), Paint(linear("ece7dc"))),
            Box((1.00, 1.42, 3.04), (1.38, 1.92, 3.06), Paint(linear("c9b08d"))),
            Box((1.00, 1.42, 3.03), (1.38, 1.60, 3.05), Paint(linear("5f7477"))),
        ]
    )
    groups.append(
        [
            Drum((1.62, 0, 2.5), 0.17, 0.34, Paint(linear("d9d4ca")), taper=1.15),
        ]
    )
    groups.append(plant((1.62, 0.34, 2.5), seed + 3, height_m=0.85, reach_m=0.42))
    lamps: list[Lamp] = [
        Panel((-2.98, 0.9, 2.0), (0, 0, -1.6), (0, 1.5, 0), (4.2, 4.8, 5.6)),
        Bulb((-1.62, 1.17, 2.75), 0.05, (1.9, 1.15, 0.55), sideways=0.28),
    ]
    camera = Camera((0, 1.25, 0), 1.25, horizon=0.47)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed)
    picture = focused_at(picture, depth_m, focus_m=0.9, aperture=0.016)
    return developed(bloomed(picture, 0.07, 0.03), seed, exposure=2.1)


def plaster(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Low sun through a window at the side, on a lime-washed wall above a sideboard."""
    lime = Paint(linear("e3d6c4"), texture=mottled(0.035, 0.45, seed, octaves=5))
    oak = Paint(linear("b08a63"), texture=mottled(0.09, 0.03, seed + 1, stretch=(14, 1, 1)))
    clay = Paint(linear("cfc3b2"), texture=mottled(0.04, 0.05, seed + 2))
    x, back = -2.0, 2.6
    frame = Paint(linear("f0ece4"))
    groups = shell(
        (-4.5, 0, -2.2),
        (2.6, 2.9, back),
        wall=lime,
        ceiling=Paint(linear("f2efe8")),
        floor=Paint(linear("a58562")),
    )
    # The window's wall, of which the camera sees only what the sun draws.
    groups[2] = [
        Box((x - 0.1, 0, -2.2), (x, 0.95, back), lime),
        Box((x - 0.1, 2.75, -2.2), (x, 2.9, back), lime),
        Box((x - 0.1, 0.9, -2.2), (x, 2.8, -1.05), lime),
        Box((x - 0.1, 0.9, 0.95), (x, 2.8, back), lime),
        *(
            Box((x - 0.07, 0.95, z - 0.025), (x - 0.03, 2.75, z + 0.025), frame)
            for z in (-0.55, -0.05, 0.45)
        ),
        *(
            Box((x - 0.07, y - 0.025, -1.05), (x - 0.03, y + 0.025, 0.95), frame)
            for y in (1.55, 2.15)
        ),
    ]
    groups.append(plant((-1.75, 1.3, 0.1), seed + 5, height_m=0.9, reach_m=0.55, stems=11))
    groups.append(
        [
            Box((-1.75, 0.10, 2.12), (-0.42, 0.62, 2.58), oak),
            Box((-1.58, 0.62, 2.10), (-0.39, 0.65, 2.59), oak),
        ]
    )
    groups.append(
        [
            Drum((-1.12, 0.65, 2.34), 0.085, 0.20, clay, taper=1.25),
            Ball((-1.12, 0.85, 2.34), ((0.112, 0, 0), (0, 0.07, 0), (0, 0, 0.112)), clay),
            Drum((-1.12, 0.88, 2.34), 0.05, 0.07, clay, taper=0.9),
            Box((-0.84, 0.65, 2.22), (-0.56, 0.685, 2.42), Paint(linear("8b4f3c"))),
            Box((-0.82, 0.685, 2.23), (-0.58, 0.715, 2.41), Paint(linear("e8e0d2"))),
        ]
    )
    groups.append(
        plant(
            (-1.12, 0.9, 2.34),
            seed + 6,
            height_m=0.62,
            reach_m=0.32,
            stems=9,
            leaf_m=(0.12, 0.05),
            green=(0.16, 0.15, 0.07),
        )
    )
    lamps: list[Lamp] = [
        Sun((-1.0, 0.24, -0.80), 0.012, (1.9, 1.5, 1.02)),
        Panel((-1.9, 0.6, -1.6), (3.4, 0, 0), (0, 1.9, 0), (0.75, 0.85, 1.0)),
    ]
    camera = Camera((0, 1.25, 0), 1.25, horizon=0.47)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed)
    picture = focused_at(picture, depth_m, focus_m=0.9, aperture=0.011)
    return developed(bloomed(picture, 0.08, 0.03), seed, exposure=2.4, saturation=0.92)


def bookshelf(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A wall of books in lamplight, far out of focus."""
    walnut = Paint(linear("6b4a35"), texture=mottled(0.10, 0.03, seed, stretch=(10, 1, 1)))
    groups = shell(
        (-3.2, 0, -2.5),
        (3.2, 2.8, 2.9),
        wall=Paint(linear("8d8476")),
        ceiling=Paint(linear("e8e2d8")),
        floor=Paint(linear("7a5c43")),
    )
    left, front, wide, high = -2.79, 2.55, 0.93, 0.37
    groups.append(
        [
            *(
                Box(
                    (left, 0.08 + high * row, front),
                    (left + 6 * wide, 0.11 + high * row, 2.9),
                    walnut,
                )
                for row in range(8)
            ),
        ]
    )
    groups.append(
        [
            *(
                Box(
                    (left + wide * i - 0.015, 0, front - 0.004),
                    (left + wide * i + 0.015, 2.72, 2.9),
                    walnut,
                )
                for i in range(7)
            ),
        ]
    )
    for column in range(6):
        for row in range(7):
            corner = (left + wide * column + 0.015, 0.11 + high * row, front)
            groups.append(books(corner, wide - 0.03, high - 0.03, seed * 100 + column * 10 + row))
    groups.append(
        [
            Drum((-1.72, 0, 1.9), 0.13, 0.02, Paint(linear("2b2724"))),
            Drum((-1.72, 0.02, 1.9), 0.012, 1.35, Paint(linear("8f7442"))),
            Drum((-1.72, 1.34, 1.9), 0.19, 0.26, Paint((0, 0, 0), (1.7, 1.08, 0.55)), taper=0.72),
        ]
    )
    lamps: list[Lamp] = [
        Bulb((-1.72, 1.47, 1.9), 0.06, (2.3, 1.4, 0.68), sideways=0.4),
        Panel((0.6, 2.78, 0.2), (1.6, 0, 0), (0, 0, 1.4), (0.9, 0.72, 0.5)),
        Panel((3.1, 0.6, -0.2), (0, 0, 1.8), (0, 1.8, 0), (1.3, 1.4, 1.6)),
    ]
    camera = Camera((0, 1.3, 0), 1.25, horizon=0.47)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed, detail=0.5)
    picture = focused_at(picture, depth_m, focus_m=0.8, aperture=0.025)
    return developed(bloomed(picture, 0.10, 0.03), seed, exposure=3.0, white=(1.1, 1.0, 0.84))


def timber(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A wall of oak slats washed from above, a globe lamp on one side, a plant on the other."""
    felt = Paint(linear("1f1c1a"))
    groups = shell(
        (-3.0, 0, -2.0),
        (3.0, 2.7, 3.0),
        wall=Paint(linear("d5cdc1")),
        ceiling=Paint(linear("e9e4dc")),
        floor=Paint(linear("8c8378")),
    )
    groups.append([Box((-3.0, 0, 2.97), (3.0, 2.7, 3.0), felt)])
    random = np.random.default_rng(seed)
    slats: list[Solid] = []
    base = linear("b59470")
    grain = mottled(0.12, 0.02, seed + 1, stretch=(1, 18, 1))
    for number in range(55):
        shade = random.uniform(0.86, 1.12)
        paint = Paint((base[0] * shade, base[1] * shade, base[2] * shade), texture=grain)
        x = -3.0 + 0.11 * number
        slats.append(Box((x, 0, 2.93), (x + 0.078, 2.7, 2.97), paint))
    groups += [slats[start : start + 11] for start in range(0, 55, 11)]
    stone = Paint(linear("b9b2a6"), texture=mottled(0.05, 0.08, seed + 2))
    dark = Paint(linear("3b322b"), texture=mottled(0.08, 0.03, seed + 3, stretch=(14, 1, 1)))
    groups.append(
        [
            Box((0.62, 0.0, 2.4), (2.4, 0.60, 2.88), dark),
            Box((0.60, 0.60, 2.38), (2.42, 0.63, 2.90), stone),
            Ball.round((1.35, 0.78, 2.62), 0.15, Paint((0, 0, 0), (1.5, 1.08, 0.68))),
            Box((1.72, 0.63, 2.52), (1.98, 0.67, 2.72), Paint(linear("d9cfbd"))),
            Box((1.74, 0.67, 2.53), (1.96, 0.70, 2.71), Paint(linear("54605a"))),
        ]
    )
    groups.append([Drum((-1.5, 0, 2.35), 0.17, 0.42, stone, taper=1.2)])
    groups.append(plant((-1.5, 0.42, 2.35), seed + 3, height_m=0.95, reach_m=0.45, stems=15))
    lamps: list[Lamp] = [
        Panel((-3.0, 2.66, 2.55), (6.0, 0, 0), (0, 0, 0.16), (4.4, 3.0, 1.75)),
        Bulb((1.35, 0.80, 2.62), 0.12, (0.62, 0.42, 0.24)),
        Panel((-1.6, 2.6, -0.6), (3.2, 0, 0), (0, 0, 1.6), (0.5, 0.52, 0.56)),
    ]
    camera = Camera((0, 1.25, 0), 1.25, horizon=0.47)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed)
    picture = focused_at(picture, depth_m, focus_m=0.9, aperture=0.014)
    return developed(
        bloomed(picture, 0.08, 0.03), seed, exposure=2.7, white=(1.16, 1.0, 0.80), saturation=0.9
    )

"""The rooms with a view: a meeting room on a garden, and a window high above a city.

Built as those of rooms.py are, with a painting of backdrops.py hung up behind the glass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backdrops import garden, skyline
from darkroom import bloomed, developed, focused_at, linear
from furniture import chair, hung, mottled, plant, shell
from light import Bulb, Camera, Lamp, Panel, photograph
from solids import Box, Drum, Paint, Room

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def meeting_room(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A bright room whose far side is glass, with a table, chairs and the garden beyond."""
    white = Paint(linear("eceae5"), texture=mottled(0.015, 0.5, seed))
    steel = Paint(linear("55595c"))
    oak = Paint(linear("c6a57f"), texture=mottled(0.08, 0.04, seed + 1, stretch=(1, 1, 12)))
    fabric = Paint(linear("6f8388"))
    groups = shell(
        (-2.9, 0, -1.5),
        (2.9, 2.8, 5.0),
        wall=white,
        ceiling=Paint(linear("f3f2ef")),
        floor=Paint(linear("a9a49c"), texture=mottled(0.05, 0.3, seed + 2)),
    )
    outside = hung(garden(seed + 4), left_m=-8.0, top_m=5.3, wide_m=16.0)
    groups[4] = [Box((-9, -3, 9.0), (9, 7, 9.1), Paint((0, 0, 0), (1, 1, 1), outside))]
    groups.append(
        [
            *(
                Box((x - 0.025, 0, 4.94), (x + 0.025, 2.8, 5.0), steel)
                for x in (-2.87, -1.74, -0.58, 0.58, 1.74, 2.87)
            ),
            Box((-2.9, 2.72, 4.94), (2.9, 2.8, 5.0), steel),
            Box((-2.9, 0.0, 4.94), (2.9, 0.08, 5.0), steel),
        ]
    )
    panel = Paint(linear("c2a079"), texture=mottled(0.08, 0.03, seed + 3, stretch=(1, 1, 14)))
    groups.append(
        [
            Box((-2.9, 0, 1.0), (-2.84, 2.8, 4.2), panel),
            Box((2.82, 1.05, 2.5), (2.9, 1.95, 4.1), Paint(linear("2c3033"))),
        ]
    )
    groups.append(
        [
            Box((-0.75, 0.71, 2.3), (0.75, 0.75, 4.4), oak),
            Box((-0.1, 0, 2.6), (0.1, 0.71, 4.1), steel),
        ]
    )
    for side in (-1.0, 1.0):
        for z in (2.75, 3.45, 4.1):
            groups.append(chair(side * 1.12, z, fabric, steel, side))
    groups.append(
        [
            *(
                Box(
                    (x - 0.04, 2.35, 2.3), (x + 0.04, 2.40, 4.4), Paint((0, 0, 0), (1.6, 1.5, 1.35))
                )
                for x in (-0.95, 0.95)
            ),
        ]
    )
    groups.append([Drum((2.3, 0, 4.3), 0.2, 0.42, Paint(linear("dedbd4")), taper=1.15)])
    groups.append(plant((2.3, 0.42, 4.3), seed + 5, height_m=1.15, reach_m=0.5, stems=16))
    lamps: list[Lamp] = [
        Panel((2.9, 0.1, 4.92), (-5.8, 0, 0), (0, 2.6, 0), (1.0, 1.08, 1.15)),
        *(
            Panel((x - 0.04, 2.35, 2.3), (0.08, 0, 0), (0, 0, 2.1), (5.0, 4.6, 4.0))
            for x in (-0.95, 0.95)
        ),
        Panel((-2.0, 2.79, -1.0), (4.0, 0, 0), (0, 0, 2.6), (1.5, 1.46, 1.38)),
    ]
    camera = Camera((0, 1.3, 0), 1.2, horizon=0.45)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed, detail=0.5)
    picture = focused_at(picture, depth_m, focus_m=0.9, aperture=0.02)
    return developed(bloomed(picture, 0.12, 0.04), seed, exposure=1.55, vignette=0.15)


def city_dusk(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """High above a city after sunset, behind a tall window, with a lamp on the sill's left."""
    frame = Paint(linear("33302f"))
    dark = Paint(linear("7d6350"), texture=mottled(0.08, 0.03, seed + 1, stretch=(14, 1, 1)))
    wall = Paint(linear("6d6660"), texture=mottled(0.02, 0.5, seed + 2))
    far, wide_m = 30.0, 48.0
    groups = shell(
        (-3.2, 0, -2.0),
        (3.2, 2.9, 2.9),
        wall=wall,
        ceiling=Paint(linear("8a837b")),
        floor=Paint(linear("54463c")),
    )
    top_m = 1.25 + wide_m * 9 / 16 * 0.58
    outside = hung(skyline(seed), left_m=-wide_m / 2, top_m=top_m, wide_m=wide_m)
    groups[4] = [Box((-60, -40, far), (60, 60, far + 0.1), Paint((0, 0, 0), (1, 1, 1), outside))]
    groups.append(
        [
            *(Box((x - 0.03, 0.5, 2.82), (x + 0.03, 2.9, 2.9), frame) for x in (-1.45, 1.45)),
            Box((-3.2, 0.0, 2.80), (3.2, 0.50, 2.9), wall),
            Box((-3.2, 0.50, 2.45), (3.2, 0.56, 2.9), dark),
        ]
    )
    groups.append(
        [
            Drum((-1.58, 0.56, 2.62), 0.08, 0.02, frame),
            Drum((-1.58, 0.58, 2.62), 0.011, 0.30, Paint(linear("a8884e"))),
            Drum((-1.58, 0.84, 2.62), 0.15, 0.20, Paint((0, 0, 0), (1.5, 0.92, 0.46)), taper=0.75),
        ]
    )
    groups.append([Drum((1.75, 0.56, 2.66), 0.11, 0.18, Paint(linear("8d857b")), taper=1.15)])
    groups.append(
        plant(
            (1.75, 0.74, 2.66),
            seed + 3,
            height_m=0.55,
            reach_m=0.28,
            stems=12,
            leaf_m=(0.17, 0.07),
        )
    )
    lamps: list[Lamp] = [
        Bulb((-1.58, 0.94, 2.62), 0.05, (0.7, 0.42, 0.2), sideways=0.4),
        Panel((3.2, 0.6, 2.88), (-6.4, 0, 0), (0, 2.2, 0), (0.10, 0.10, 0.15)),
        Panel((-1.0, 2.85, -0.8), (2.0, 0, 0), (0, 0, 1.6), (2.2, 1.75, 1.35)),
    ]
    camera = Camera((0, 1.3, 0), 1.25, horizon=0.5)
    picture, depth_m = photograph(Room(groups), lamps, camera, size, seed=seed)
    picture = focused_at(picture, depth_m, focus_m=0.9, aperture=0.021)
    return developed(bloomed(picture, 0.10, 0.03), seed, exposure=1.2)

"""Draws the built-in meeting backgrounds and lists them in manifest.toml.

    python backgrounds/draw.py                              redraws all of them
    python backgrounds/draw.py --only dawn --size 640x360 --out DIR

rooms.py, windows.py and backdrops.py hold the scenes. Each scene has a fixed seed: the same
machine and library versions draw the same bytes. A full set takes several minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import backdrops
import numpy as np
import rooms
import windows
from darkroom import webp
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
MANIFEST = "manifest.toml"
SIZE_PX = (1920, 1080)
SMALLEST_PX = 64
Draw = Callable[[tuple[int, int], int], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Scene:
    """One background: its title for people, the function that draws it, and its seed."""

    title: str
    draw: Draw
    seed: int = 11


SCENES = {
    "bookshelf": Scene("Bookshelf", rooms.bookshelf),
    "city-dusk": Scene("City at dusk", windows.city_dusk),
    "dawn": Scene("Dawn", backdrops.dawn),
    "meeting-room": Scene("Meeting room", windows.meeting_room),
    "plaster": Scene("Sunlit plaster", rooms.plaster),
    "slate": Scene("Slate canvas", backdrops.slate),
    "studio-office": Scene("Studio office", rooms.studio_office),
    "timber": Scene("Timber", rooms.timber),
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only or SCENES:
        scene = SCENES[name]
        data = webp(scene.draw(options.size, scene.seed))
        (options.out / f"{name}.webp").write_bytes(data)
        sys.stdout.write(f"{name}: {len(data)} bytes\n")
    if options.size == SIZE_PX:
        (options.out / MANIFEST).write_text(manifest(options.out), encoding="utf-8")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw the built-in meeting backgrounds.")
    parser.add_argument(
        "--size",
        type=size,
        default=SIZE_PX,
        metavar="WxH",
        help="1920x1080 unless given; only at that size is the manifest written",
    )
    parser.add_argument(
        "--only", action="append", choices=sorted(SCENES), help="may be given more than once"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    return parser.parse_args(arguments)


def size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError("must look like 1920x1080") from None
    if min(width, height) < SMALLEST_PX:
        raise argparse.ArgumentTypeError(f"must be {SMALLEST_PX} pixels or more each way")
    return width, height


def manifest(folder: Path) -> str:
    """The manifest of the full-size pictures in the folder, in TOML."""
    lines = ["# Written by draw.py: do not edit by hand."]
    for name, scene in SCENES.items():
        path = folder / f"{name}.webp"
        if not path.exists():
            continue
        lines += [
            "",
            "[[background]]",
            f'name = "{name}"',
            f'title = "{scene.title}"',
            f"width = {SIZE_PX[0]}",
            f"height = {SIZE_PX[1]}",
            f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"',
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

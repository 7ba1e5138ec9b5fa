"""The default clip: scikit-image's astronaut (public domain, NASA) swaying in a plain room."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import skimage.data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

OUTLINE = np.array(
    [
        (150, 60), (165, 25), (200, 5), (240, 5), (272, 30), (285, 70), (285, 110), (275, 150),
        (290, 175), (335, 200), (365, 225), (390, 300), (440, 330), (470, 340), (490, 420),
        (505, 511),
        (5, 511), (20, 430), (45, 350), (75, 275), (110, 225), (160, 195), (185, 175), (165, 140),
        (152, 100),
    ],
    np.int32,
)  # fmt: skip
"""Roughly around the person in the 512 x 512 portrait; grabCut finds the edge from there."""
EDGE_SIGMA_PX = 1.2
PERSON_HEIGHT_SHARE = 0.92
SWAY_SHARE = 0.03
"""Of the picture's width, to each side."""
SWAY_S = 3.1
NOD_S = 2.3
NOISE_LEVELS = 2.5
SEED = 7


def person() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The portrait, 512 x 512 RGB, and how much of each pixel is person, 0 to 1."""
    rgb = cast("NDArray[np.uint8]", skimage.data.astronaut())  # type: ignore[no-untyped-call]
    inside = cv2.fillPoly(np.zeros(rgb.shape[:2], np.uint8), [OUTLINE], 1)
    mask = np.full(rgb.shape[:2], cv2.GC_BGD, np.uint8)
    mask[cv2.dilate(inside, np.ones((25, 25), np.uint8)) > 0] = cv2.GC_PR_BGD
    mask[inside > 0] = cv2.GC_PR_FGD
    mask[cv2.erode(inside, np.ones((41, 41), np.uint8)) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(SEED)
    cv2.grabCut(
        rgb, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK
    )
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    solid = cv2.morphologyEx(
        (labels == largest).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8)
    )
    alpha = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), EDGE_SIGMA_PX)
    return rgb, np.asarray(alpha, np.float32)


def plain_room(width: int, height: int) -> NDArray[np.uint8]:
    """A wall in soft light, a shelf and a window: H x W x 3 RGB."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1 - 0.25 * across / width - 0.2 * down / height
    wall = light[..., None] * np.array([188, 182, 170], np.float32)
    room: NDArray[np.uint8] = wall.astype(np.uint8)
    left, right = round(0.06 * width), round(0.24 * width)
    top, bottom = round(0.1 * height), round(0.55 * height)
    cv2.rectangle(room, (left, top), (right, bottom), (214, 226, 236), -1)
    cv2.rectangle(room, (left, top), (right, bottom), (120, 108, 96), max(2, width // 160))
    shelf = round(0.42 * height)
    cv2.rectangle(
        room, (round(0.72 * width), shelf), (width - 1, shelf + height // 36), (104, 78, 58), -1
    )
    for index in range(6):
        x = round((0.74 + 0.035 * index) * width)
        spine = (60 + 25 * index, 140 - 15 * index, 90 + 10 * index)
        cv2.rectangle(
            room, (x, round(0.24 * height)), (x + round(0.024 * width), shelf - 1), spine, -1
        )
    return room


def swaying(
    room: NDArray[np.uint8], frames: int, fps: int, *, centre: float = 0.54
) -> Iterator[NDArray[np.uint8]]:
    """The person in front of a room (H x W x 3 RGB), frame by frame, with a sensor's noise.

    `centre`: where the person stands, as a share of the width.
    """
    portrait, alpha = person()
    height, width = room.shape[:2]
    scale = PERSON_HEIGHT_SHARE * height / portrait.shape[0]
    random = np.random.default_rng(SEED)
    behind = room.astype(np.float32)
    for number in range(frames):
        at_s = number / fps
        sway_px = SWAY_SHARE * width * math.sin(2 * math.pi * at_s / SWAY_S)
        nod_px = 0.01 * height * math.sin(2 * math.pi * at_s / NOD_S)
        left = centre * width - scale * portrait.shape[1] / 2 + sway_px
        top = height * (1 - PERSON_HEIGHT_SHARE) + 0.012 * height + nod_px
        where = np.array([[scale, 0, left], [0, scale, top]], np.float32)
        moved = cv2.warpAffine(portrait, where, (width, height), borderMode=cv2.BORDER_REPLICATE)
        covers = cv2.warpAffine(alpha, where, (width, height))[..., None]
        # The portrait ends at its lower edge; below it there is no wall.
        noise = random.normal(0, NOISE_LEVELS, (height, width, 1)).astype(np.float32)
        picture = moved * covers + behind * (1 - covers) + noise
        yield np.clip(picture, 0, 255).astype(np.uint8)

"""The person of the tests: scikit-image's astronaut, a public-domain portrait by NASA."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import skimage.data

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD = ((223, 128), (62, 88))  # centre and half axes, px of the portrait
COLLAR = np.array([(185, 180), (255, 180), (300, 250), (150, 255)])
BODY = np.array([(100, 511), (120, 330), (170, 270), (290, 270), (370, 330), (400, 511)])


def astronaut() -> NDArray[np.uint8]:
    """Head and shoulders, 512 x 512 RGB, a copy of the caller's own."""
    return cast("NDArray[np.uint8]", skimage.data.astronaut())  # type: ignore[no-untyped-call]


@cache
def cutout() -> NDArray[np.uint8]:
    """The astronaut alone, 512 x 512 RGBA: found by GrabCut from a rough drawing of her, then
    taken a little smaller, so that none of the wall behind her is left at the edge.

    Composed over a room, its alpha is that picture's exact alpha, whatever GrabCut thought.
    """
    picture = astronaut()
    marks = np.full((512, 512), cv2.GC_BGD, np.uint8)
    drawn = np.zeros((512, 512), np.uint8)
    cv2.ellipse(drawn, HEAD[0], HEAD[1], 0, 0, 360, 255, -1)
    cv2.fillPoly(drawn, [BODY], (255,))
    wide = cv2.dilate(drawn, np.ones((61, 61), np.uint8))
    sure = cv2.erode(drawn, np.ones((31, 31), np.uint8))
    cv2.rectangle(sure, (195, 150), (255, 300), 255, -1)  # face and neck
    cv2.fillPoly(sure, [COLLAR], (255,))
    marks[wide > 0] = cv2.GC_PR_BGD
    marks[drawn > 0] = cv2.GC_PR_FGD
    marks[sure > 0] = cv2.GC_FGD
    cv2.setRNGSeed(1)
    room, person_model = (np.zeros((1, 65), np.float64) for _ in range(2))
    bgr = np.ascontiguousarray(picture[..., ::-1])
    cv2.grabCut(bgr, marks, (0, 0, 0, 0), room, person_model, 5, cv2.GC_INIT_WITH_MASK)
    person = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8) * 255
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(person)
    person[labels != 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())] = 0
    alpha = cv2.GaussianBlur(cv2.erode(person, np.ones((5, 5), np.uint8)), (0, 0), 1.2)
    return np.dstack((picture, alpha)).astype(np.uint8)

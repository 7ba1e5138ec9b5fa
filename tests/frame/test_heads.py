"""Holes in a head are closed; nothing outside of a head is made a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.frame.faces import Face
from service.frame.heads import FRESH_S, close_holes
from service.frame.tracks import Track

if TYPE_CHECKING:
    from tests.frame.scenes import U8

FACE = Face(0.4, 0.2, 0.6, 0.6, 0.9, ())


def person(unseen_s: float = 0.0) -> Track:
    return Track(1, FACE, 0.2, np.zeros((3, 3), np.float32), 1.0, 1.0 + unseen_s)


def head(*, hole: bool, shift: int = 0) -> U8:
    mask = np.zeros((180, 320), np.uint8)
    cv2.ellipse(mask, (160 + shift, 72), (40, 50), 0, 0, 360, 255, -1)
    if hole:
        cv2.circle(mask, (165 + shift, 75), 10, 0, -1)
    return mask


@pytest.mark.parametrize("unseen_s", [0.0, 0.3])
def test_a_hole_is_closed(unseen_s: float) -> None:
    mask = head(hole=True)
    close_holes(mask, [person(unseen_s)])
    assert (mask == head(hole=False)).all()


def test_not_by_a_face_of_long_ago() -> None:
    mask = head(hole=True)
    close_holes(mask, [person(FRESH_S + 0.1)])
    assert (mask == head(hole=True)).all()


def test_a_head_that_moved_since_shows_no_background() -> None:
    mask = head(hole=False, shift=25)
    close_holes(mask, [person(0.3)])
    assert (mask == head(hole=False, shift=25)).all()


def test_a_face_where_nobody_is_makes_no_person() -> None:
    mask = np.zeros((180, 320), np.uint8)
    close_holes(mask, [person()])
    assert not mask.any()


@pytest.mark.parametrize("left", [-0.15, 0.95, 1.2, -0.5])
def test_a_face_at_the_border_is_no_fault(left: float) -> None:
    face = Face(left, -0.1, left + 0.2, 0.3, 0.9, ())
    mask = np.full((180, 320), 255, np.uint8)
    close_holes(mask, [Track(1, face, 0.2, np.zeros((3, 3), np.float32), 0.0, 0.0)])
    assert (mask == 255).all()

"""Faces decide whose mask it is; without them size and place do."""

from __future__ import annotations

import cv2
import numpy as np

from service.frame.components import Components
from service.frame.faces import Face

COLUMNS, ROWS = 320, 180
NONE_BEFORE = np.zeros((ROWS, COLUMNS), np.uint8)
Blob = tuple[int, int, int, int]
PERSON: Blob = (120, 60, 90, 120)
POSTER: Blob = (4, 10, 64, 64)  # 38 % of the person's area, at the side
LAMP: Blob = (290, 10, 20, 30)
MIDDLE: Blob = (235, 60, 60, 90)


def mask_of(*blobs: Blob) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    for x, y, width, height in blobs:
        mask[y : y + height, x : x + width] = 255
    return mask


def face_in(blob: Blob) -> Face:
    x, y, width, _ = blob
    left, right = (x + 0.3 * width) / COLUMNS, (x + 0.7 * width) / COLUMNS
    return Face(left, y / ROWS, right, (y + 0.4 * width) / ROWS, 0.9, ())


def kept(
    blobs: list[Blob], faces: list[Face] | None, before: list[Blob] | None = None
) -> list[bool]:
    mask = mask_of(*blobs)
    past = mask_of(*before) if before else NONE_BEFORE
    Components().clean(mask, past, faces)
    middles = [(y + height // 2, x + width // 2) for x, y, width, height in blobs]
    return [bool(mask[middle] == 255) for middle in middles]


def test_size_alone_decides_when_no_faces_were_looked_for() -> None:
    assert kept([PERSON, LAMP], None) == [True, False]
    assert kept([PERSON, MIDDLE], None) == [True, True]


def test_a_face_makes_a_person_of_any_size_and_place() -> None:
    assert kept([PERSON, LAMP], [face_in(LAMP), face_in(PERSON)]) == [True, True]


def test_a_large_blob_at_the_side_without_a_face_is_none() -> None:
    assert kept([PERSON, POSTER], None) == [True, True]
    assert kept([PERSON, POSTER], [face_in(PERSON)]) == [True, False]
    assert kept([POSTER], []) == [False]


def test_without_any_face_the_large_central_blob_stays() -> None:
    """A turned head has no face."""
    assert kept([PERSON, LAMP], []) == [True, False]


def test_who_was_there_stays_when_the_face_is_gone() -> None:
    assert kept([POSTER], []) == [False]
    assert kept([POSTER], [], before=[POSTER]) == [True]


def test_nobody_stays_nobody() -> None:
    assert kept([LAMP], []) == [False]
    mask = NONE_BEFORE.copy()
    Components().clean(mask, NONE_BEFORE, [])
    assert not mask.any()


def test_a_removed_blob_takes_its_soft_rim_with_it() -> None:
    mask = np.asarray(cv2.blur(mask_of(PERSON, LAMP), (5, 5)), np.uint8)
    person_before = mask[:, :220].copy()
    Components().clean(mask, NONE_BEFORE, None)
    assert not mask[:, 270:].any()
    assert np.array_equal(mask[:, :220], person_before)

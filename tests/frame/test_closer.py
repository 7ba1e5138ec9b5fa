"""Doubtful faces are looked at closer; sure ones cost nothing."""

from __future__ import annotations

import numpy as np
import pytest

from service.frame.closer import MOST_LOOKS, Closer
from service.frame.faces import INPUT_PX, FaceDetector
from tests.frame.person.made import SaysFaces, blank, face

SQUARE = (INPUT_PX, INPUT_PX)
FOUND = face(64, 64, 40, size=SQUARE, score=0.95)


def test_a_sure_face_is_taken_as_it_is() -> None:
    network = SaysFaces([FOUND])
    sure = face(100, 60, 50)
    assert Closer(FaceDetector(network)).checked(blank(), [sure]) == [sure]
    assert network.runs == 0


def test_a_doubtful_face_is_replaced_by_what_is_there() -> None:
    network = SaysFaces([FOUND])
    (found,) = Closer(FaceDetector(network)).checked(blank(), [face(100, 60, 60, score=0.6)])
    assert network.runs == 1
    # A square of twice the box, 120 px, around the key points (1.6 px under the ears' middle):
    # 40 of 128 px of it are 37.5 of the grid.
    assert (found.right - found.left) * 320 == pytest.approx(37.5, abs=0.6)
    assert (found.bottom - found.top) * 180 == pytest.approx(37.5, abs=0.6)
    assert (found.left + found.right) / 2 * 320 == pytest.approx(100, abs=1)
    assert (found.top + found.bottom) / 2 * 180 == pytest.approx(61.6, abs=1)
    nose = found.key_points[2]
    assert (nose[0] * 320, nose[1] * 180) == pytest.approx((100, 61.6 + 3.75), abs=1)


def test_the_square_stays_in_the_picture() -> None:
    network = SaysFaces([FOUND])
    at_the_border = face(40, 60, 60, score=0.6)
    (found,) = Closer(FaceDetector(network)).checked(blank(), [at_the_border])
    assert (found.left + found.right) / 2 * 320 == pytest.approx(60, abs=1)


def test_a_doubtful_face_that_is_not_there_is_nobody() -> None:
    assert Closer(FaceDetector(SaysFaces())).checked(blank(), [face(100, 60, 60, score=0.6)]) == []


def test_a_face_elsewhere_in_the_square_is_another_one() -> None:
    beside = SaysFaces([face(118, 64, 20, size=SQUARE)])
    assert Closer(FaceDetector(beside)).checked(blank(), [face(100, 60, 60, score=0.6)]) == []


def test_looks_are_bounded() -> None:
    network = SaysFaces([FOUND])
    crowd = [face(30 * i, 60, 20, score=0.6) for i in range(1, 9)]
    sure = face(300, 60, 20)
    assert len(Closer(FaceDetector(network)).checked(blank(), [*crowd, sure])) == 1 + MOST_LOOKS
    assert network.runs == MOST_LOOKS


@pytest.mark.parametrize("place", [(-50.0, 60.0), (400.0, 60.0), (100.0, np.nan)])
def test_what_is_outside_the_picture_is_not_looked_at(place: tuple[float, float]) -> None:
    network = SaysFaces([FOUND])
    assert Closer(FaceDetector(network)).checked(blank(), [face(*place, 20, score=0.6)]) == []
    assert network.runs == 0

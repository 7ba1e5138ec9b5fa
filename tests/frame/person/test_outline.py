"""`blazeface`: people drawn around their faces, and nobody where there is no face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.faces import Face, FaceDetector
from service.frame.mask import MaskFault, Refusal
from service.frame.person.outline import Outline
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE
from tests.frame.person.made import SaysFaces, blank, face, grid_of
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from service.frame.models import Models


class NoNetworks:
    """Faces are given: the face network is only asked about doubtful ones."""

    def __getitem__(self, name: str) -> SaysFaces:
        return SaysFaces()


def test_what_it_asks_for() -> None:
    source = Outline()
    assert source.faces is FaceUse.ALWAYS
    assert not source.looks_closer
    assert source.input_aspect(blank()) == pytest.approx(16 / 9)


def test_without_a_face_there_is_nobody() -> None:
    source = Outline()
    source.probability(blank(), WHOLE, [face(160, 60, 40)])
    alpha = source.probability(blank(), WHOLE, [])
    assert alpha.shape == (180, 320)
    assert not alpha.any()


def test_a_person_is_where_the_face_is() -> None:
    alpha = Outline().probability(blank(), WHOLE, [face(100, 60, 40)])
    assert alpha[60, 100] > 200
    assert alpha[170, 100] > 200
    assert not alpha[:, 250:].any()
    assert alpha[:10].max() < 128


def test_several_people_are_united() -> None:
    faces = [face(70, 60, 30), face(250, 70, 24)]
    alpha = Outline().probability(blank(), WHOLE, faces)
    assert alpha[60, 70] > 200
    assert alpha[70, 250] > 200
    assert alpha[20:80, 150:170].max() < 128


@pytest.mark.parametrize("place", [(-5.0, 60.0), (322.0, 60.0), (160.0, -8.0), (160.0, 175.0)])
def test_a_face_half_out_of_the_picture(place: tuple[float, float]) -> None:
    alpha = Outline().probability(blank(), WHOLE, [face(*place, 40)])
    assert alpha.any()
    assert alpha.mean() < 128


@pytest.mark.parametrize("size", [(64, 64), (640, 640), (360, 640), (2, 2), (1280, 16)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    grid = blank(*size)
    width, height = grid.size
    faces = [face(width / 2, height / 3, min(width, height) / 4, size=(width, height))]
    assert Outline().probability(grid, WHOLE, faces).shape == (height, width)


def test_an_outline_all_over_the_picture_is_refused() -> None:
    with pytest.raises(MaskFault) as caught:
        Outline().probability(blank(), WHOLE, [face(160, 90, 900)])
    assert caught.value.refusal is Refusal.ALL_PERSON


def test_a_face_that_is_no_number_is_refused() -> None:
    with pytest.raises(MaskFault) as caught:
        Outline().probability(blank(), WHOLE, [face(160, np.nan, 40)])
    assert caught.value.refusal is Refusal.NOT_A_NUMBER


GRID = blank()
COORDINATE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.lists(COORDINATE, min_size=16, max_size=16), max_size=3), st.floats(0.5, 1.0))
def test_whatever_the_face_network_says(rows: list[list[float]], score: float) -> None:
    faces = [
        Face(a, b, c, d, score, tuple(zip(points[::2], points[1::2], strict=True)))
        for a, b, c, d, *points in rows
    ]
    refused: list[Refusal] = []
    try:
        assert Outline().probability(GRID, WHOLE, faces).shape == (180, 320)
    except MaskFault as fault:
        refused.append(fault.refusal)
    assert refused in ([], [Refusal.ALL_PERSON])


@pytest.mark.model
def test_the_astronaut_is_drawn(shipped: Models) -> None:
    picture = astronaut()
    grid = grid_of(picture)
    faces = FaceDetector(shipped["blazeface_short"]).detect(picture)
    alpha = Outline().probability(grid, WHOLE, faces)
    (found,) = faces
    top, bottom, left, right = (
        round(320 * v) for v in (found.top, found.bottom, found.left, found.right)
    )
    assert alpha[top:bottom, left:right].mean() > 240, "the face"
    assert alpha[300, 130] > 200, "the suit"
    assert alpha[:40, :40].max() < 128, "the flag"
    assert alpha[20:60, -30:].max() < 128, "the shuttle"

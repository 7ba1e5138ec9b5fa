"""What is drawn around a head is a person's shape, wherever and however the head is held."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan, radians
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import MOST_LOGIT
from service.frame.person.figure import Figure, Head, heads_of
from tests.frame.person.made import face

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 160, 90
HEAD = Head(x=80.0, y=30.0, side=20.0, lean=0.0, turn=0.0)


def drawn(*heads: Head) -> NDArray[np.float32]:
    logits = Figure().logits(heads, WIDTH, HEIGHT)
    assert logits.shape == (HEIGHT, WIDTH)
    assert logits.dtype == np.float32
    return logits


def test_who_looks_into_the_camera_is_symmetrical() -> None:
    logits = drawn(HEAD)
    np.testing.assert_allclose(logits, logits[:, ::-1], atol=1e-4)


def test_a_head_on_a_neck_on_shoulders() -> None:
    widths = (drawn(HEAD) > 0).sum(axis=1)
    head, neck, shoulders = widths[28], widths[36], widths[70]
    assert widths[: round(30 - 1.5 * 20)].sum() == 0, "nobody is that far above the ears"
    assert head == pytest.approx(1.25 * 20, abs=4)
    assert neck < head
    assert shoulders > 1.8 * head
    assert (drawn(HEAD)[-1] > 0).any(), "a body goes on to the picture's lower edge"


def test_it_is_sure_of_the_face_and_not_of_the_elbows() -> None:
    logits = drawn(HEAD)
    assert logits[30, 80] > 5
    row = logits[80]
    edge = int(np.argmax(row > 0))
    assert abs(row[edge + 2] - row[edge - 2]) < abs(logits[30, 80] - logits[30, 60])


def test_a_leaning_head_leans_and_its_body_does_not() -> None:
    upright, leaning = drawn(HEAD), drawn(replace(HEAD, lean=radians(30)))
    crown = slice(8, 16)
    middle = [(np.arange(WIDTH) * (logits[crown] > 0)).sum() / (logits[crown] > 0).sum()
              for logits in (upright, leaning)]  # fmt: skip
    assert middle[1] > middle[0] + 2, "clockwise: the crown goes to the right"
    np.testing.assert_array_equal(upright[80:], leaning[80:])


def test_the_back_of_a_turned_head_shows_away_from_the_nose() -> None:
    logits = drawn(replace(HEAD, turn=0.4))
    row = np.flatnonzero(logits[25] > 0)
    assert 80 - row[0] > row[-1] - 80 + 1
    np.testing.assert_allclose(
        logits, drawn(replace(HEAD, turn=-0.4))[:, ::-1], atol=1e-4, err_msg="mirrored"
    )


def test_people_are_united() -> None:
    one, other = replace(HEAD, x=40.0), replace(HEAD, x=120.0, side=12.0)
    np.testing.assert_array_equal(drawn(one, other), np.maximum(drawn(one), drawn(other)))


def test_nobody_is_nowhere() -> None:
    assert (drawn() == -MOST_LOGIT).all()


@given(
    x=st.floats(-700, 900),
    y=st.floats(-400, 500),
    side=st.floats(1, 400),
    lean=st.floats(-3.2, 3.2),
    turn=st.floats(-1, 1),
)
def test_any_head_is_drawn_within_bounds(
    x: float, y: float, side: float, lean: float, turn: float
) -> None:
    logits = drawn(Head(x, y, side, lean, turn))
    assert np.isfinite(logits).all()
    assert logits.min() >= -MOST_LOGIT
    assert logits.max() <= MOST_LOGIT


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (16, 16), (45, 80), (80, 45)])
def test_every_size_of_picture(width: int, height: int) -> None:
    heads = heads_of([face(width / 2, height / 3, 1 + width / 4, size=(width, height))],
                     (width, height))  # fmt: skip
    assert Figure().logits(heads, width, height).shape == (height, width)


def test_a_face_says_where_the_head_is_and_how_it_is_held() -> None:
    (head,) = heads_of([face(80, 30, 20, size=(WIDTH, HEIGHT), lean=0.3, turn=0.2)], (160, 90))
    assert (head.x, head.y, head.side) == pytest.approx((80, 30, 20))
    assert (head.lean, head.turn) == pytest.approx((0.3, 0.2))


def test_faces_that_can_be_nobodys_are_left_out() -> None:
    good = face(80, 30, 20, size=(WIDTH, HEIGHT))
    inside_out = replace(good, left=good.right, right=good.left)
    tiny = face(80, 30, 0.4, size=(WIDTH, HEIGHT))
    far = face(5000, 30, 20, size=(WIDTH, HEIGHT))
    endless = face(80, 30, 1e30, size=(WIDTH, HEIGHT))
    assert len(heads_of([inside_out, tiny, far, endless, good], (WIDTH, HEIGHT))) == 1


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_face_that_is_no_number_is_a_fault(bad: float) -> None:
    good = face(80, 30, 20, size=(WIDTH, HEIGHT))
    points = (*good.key_points[:3], (0.5, bad), *good.key_points[4:])
    for broken in (replace(good, top=bad), replace(good, key_points=points)):
        with pytest.raises(MaskFault) as caught:
            heads_of([broken], (WIDTH, HEIGHT))
        assert caught.value.refusal is Refusal.NOT_A_NUMBER

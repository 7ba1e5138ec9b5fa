"""`bodypix`: coarse logits, put where the network's cells look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.mask import MaskFault, Refusal
from service.frame.person.bodypix import COLUMNS, FIRST_PX, ROWS, STRIDE, BodyPix
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE
from tests.frame.person.made import blank, grid_of
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.frame.models import Models
    from service.frame.region import Box
    from tests.frame.scenes import U8


class Says:
    """A network with one answer."""

    def __init__(self, answer: NDArray[np.float32]) -> None:
        self._answer = answer

    def __getitem__(self, name: str) -> Says:
        assert name == "bodypix"
        return self

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        assert image.shape == (240, 320, 3)
        return (self._answer,)


def logits(value: float = -6.0) -> NDArray[np.float32]:
    return np.full((ROWS, COLUMNS), value, np.float32)


def found(answer: NDArray[np.float32], box: Box = WHOLE, size: tuple[int, int] = (320, 240)) -> U8:
    return BodyPix(Says(answer)).probability(blank(*size), box, [])


def test_what_it_asks_for() -> None:
    source = BodyPix(Says(logits()))
    assert source.faces is FaceUse.NEVER
    assert source.looks_closer
    assert source.input_aspect(blank()) == pytest.approx(4 / 3)


def test_cells_are_where_the_network_looks() -> None:
    answer = logits()
    answer[6, 9] = 6.0
    alpha = found(answer)
    rows, columns = np.nonzero(alpha > 200)
    assert columns.mean() == pytest.approx(9 * STRIDE + FIRST_PX, abs=1)
    assert rows.mean() == pytest.approx(6 * STRIDE + FIRST_PX, abs=1)
    assert alpha[6 * STRIDE, 9 * STRIDE - 16] < 50


def test_the_outermost_cells_reach_the_border() -> None:
    answer = logits()
    answer[:, :3] = 6.0
    answer[-2:] = 6.0
    alpha = found(answer)
    assert alpha[0, 0] > 250
    assert alpha[-1, -1] > 250


def test_a_box_is_filled_and_nothing_outside() -> None:
    answer = logits()
    answer[4:, 5:15] = 6.0
    alpha = found(answer, (0.5, 0.25, 1.0, 1.0))
    assert not alpha[:, :159].any()
    assert not alpha[:59].any()
    assert alpha[200, 240] > 250


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (np.full((ROWS, COLUMNS), np.nan, np.float32), Refusal.NOT_A_NUMBER),
        (np.full((ROWS, COLUMNS), np.inf, np.float32), Refusal.NOT_A_NUMBER),
        (np.zeros((ROWS, COLUMNS - 1), np.float32), Refusal.WRONG_SIZE),
        (np.zeros(0, np.float32), Refusal.WRONG_SIZE),
        (np.full((ROWS, COLUMNS), 9.0, np.float32), Refusal.ALL_PERSON),
    ],
)
def test_nonsense_is_refused(answer: NDArray[np.float32], refusal: Refusal) -> None:
    with pytest.raises(MaskFault) as caught:
        found(answer)
    assert caught.value.refusal is refusal


@pytest.mark.parametrize("size", [(64, 64), (360, 640), (2, 2)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    assert not found(logits(), size=size).any()


@pytest.mark.model
def test_the_astronaut_is_found(fetched: Callable[[str], Models]) -> None:
    alpha = BodyPix(fetched("bodypix")).probability(grid_of(astronaut()), WHOLE, [])
    assert alpha[60:85, 125:155].mean() > 200, "the face"
    assert alpha[280, 130] > 200, "the suit"
    assert alpha[20:180, -60:].max() < 128, "the room; the flag it takes for a person"

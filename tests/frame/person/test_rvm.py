"""`rvm`: the network is given its own memory back, until it is told to forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.mask import MaskFault, Refusal
from service.frame.person.rvm import Rvm
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE
from tests.frame.person.made import blank, grid_of
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.frame.models import Models
    from tests.frame.scenes import U8


class Counts:
    """A network that remembers how many pictures it has seen, twice over."""

    def __init__(self) -> None:
        self.answer = np.full((144, 256), 0.4, np.float32)
        self.seen: list[tuple[float, ...]] = []

    def __getitem__(self, name: str) -> Counts:
        assert name == "rvm"
        return self

    def first_state(self) -> tuple[NDArray[np.float32], ...]:
        return np.zeros((1, 2), np.float32), np.zeros((3, 1), np.float32)

    def run(self, image: U8, *state: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        assert image.shape == (144, 256, 3)
        assert [part.shape for part in state] == [(1, 2), (3, 1)]
        self.seen.append(tuple(float(part.reshape(-1)[0]) for part in state))
        return (self.answer, *(part + np.float32(1) for part in state))


def test_what_it_asks_for() -> None:
    source = Rvm(Counts())
    assert source.faces is FaceUse.NEVER
    assert not source.looks_closer, "what it remembers is tied to places in the picture"
    assert source.input_aspect(blank()) == pytest.approx(16 / 9)


def test_its_memory_is_kept_until_reset() -> None:
    network = Counts()
    source = Rvm(network)
    for _ in range(3):
        source.probability(blank(), WHOLE, [])
    source.reset()
    source.probability(blank(), WHOLE, [])
    assert network.seen == [(0, 0), (1, 1), (2, 2), (0, 0)]


def test_each_track_has_its_own_memory() -> None:
    network = Counts()
    one, other = Rvm(network), Rvm(network)
    one.probability(blank(), WHOLE, [])
    other.probability(blank(), WHOLE, [])
    assert network.seen == [(0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (np.full((144, 256), np.nan, np.float32), Refusal.NOT_A_NUMBER),
        (np.full((144, 255), 0.1, np.float32), Refusal.WRONG_SIZE),
        (np.ones((144, 256), np.float32), Refusal.ALL_PERSON),
    ],
)
def test_nonsense_is_refused_and_not_gone_on_from(
    answer: NDArray[np.float32], refusal: Refusal
) -> None:
    network = Counts()
    source = Rvm(network)
    source.probability(blank(), WHOLE, [])
    network.answer = answer
    with pytest.raises(MaskFault) as caught:
        source.probability(blank(), WHOLE, [])
    assert caught.value.refusal is refusal
    network.answer = np.full((144, 256), 0.4, np.float32)
    source.probability(blank(), WHOLE, [])
    assert network.seen[-1] == (0, 0)


def test_the_bars_beside_an_upright_picture_hide_nothing() -> None:
    network = Counts()
    network.answer[:] = 0.0
    network.answer[:, :80] = 1.0
    with pytest.raises(MaskFault) as caught:
        Rvm(network).probability(blank(360, 640), WHOLE, [])
    assert caught.value.refusal is Refusal.ALL_PERSON


@pytest.mark.parametrize(
    ("size", "inner"), [((640, 360), 256), ((640, 480), 192), ((360, 640), 80)]
)
def test_the_answer_lies_where_the_person_is(size: tuple[int, int], inner: int) -> None:
    network = Counts()
    network.answer[:] = 0.0
    network.answer[72:, inner // 4 : inner // 2] = 1.0
    alpha = Rvm(network).probability(blank(*size), WHOLE, [])
    height, width = alpha.shape
    expected = np.zeros((height, width), bool)
    expected[height // 2 :, width // 4 : width // 2] = True
    assert ((alpha > 127) == expected).mean() > 0.985


@pytest.mark.parametrize("size", [(64, 64), (2, 2), (1280, 16)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    grid = blank(*size)
    assert Rvm(Counts()).probability(grid, WHOLE, []).shape == grid.size[::-1]


@pytest.mark.model
def test_the_astronaut_is_found(fetched: Callable[[str], Models]) -> None:
    source = Rvm(fetched("rvm"))
    for _ in range(3):
        alpha = source.probability(grid_of(astronaut()), WHOLE, [])
    assert alpha[60:85, 125:155].mean() > 240, "the face"
    assert alpha[280, 130] > 240, "the suit"
    assert alpha[20:180, -60:].max() < 50, "the room; the flag it takes for a person"

"""The network is chosen by the frame's shape, and its answer is checked before it is a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.grid import Grid
from service.frame.mask import MaskFault, Refusal
from service.frame.person.selfie import Selfie
from service.frame.person.source import FaceUse
from service.frame.planes import view
from service.frame.region import WHOLE
from tests.frame.scenes import U8, figure, frame_of, scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAN = np.full((1, 144, 256, 1), 0.3, np.float32)
NAN[0, 5, 7] = np.nan
INFINITE = NAN.copy()
INFINITE[0, 5, 7] = np.inf


class Fixed:
    """A network that always says the same, and remembers what it was asked."""

    def __init__(self, answer: NDArray[np.float32] | None = None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self._name = ""

    def __getitem__(self, name: str) -> Fixed:
        self._name = name
        return self

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        self.asked.append((self._name, image.shape))
        if self.answer is not None:
            return (self.answer,)
        red, blue = image[..., 0].astype(int), image[..., 2].astype(int)
        return ((red - blue > 100).astype(np.float32)[None, ..., None],)


@pytest.mark.parametrize(
    ("size", "name", "shape"),
    [
        ((640, 360), "selfie_landscape", (144, 256, 3)),
        ((512, 480), "selfie_landscape", (144, 256, 3)),
        ((480, 480), "selfie_general", (256, 256, 3)),
        ((360, 640), "selfie_general", (256, 256, 3)),
    ],
)
def test_the_frames_shape_chooses(size: tuple[int, int], name: str, shape: tuple[int, ...]) -> None:
    networks = Fixed()
    Selfie(networks, FaceUse.NEVER).probability(Grid(view(frame_of(scene(*size)))), WHOLE, [])
    assert networks.asked == [(name, shape)]


@pytest.mark.parametrize("box", [WHOLE, (0.2, 0.05, 0.8, 1.0)])
def test_the_answer_lies_where_the_person_is(box: tuple[float, float, float, float]) -> None:
    grid = Grid(view(frame_of(scene(640, 360))))
    found = Selfie(Fixed(), FaceUse.NEVER).probability(grid, box, [])
    expected = figure(320, 180)
    assert found.shape == expected.shape
    assert ((found > 127) == (expected > 127)).mean() > 0.985


def test_outside_the_box_nobody_is() -> None:
    grid = Grid(view(frame_of(scene(640, 360))))
    found = Selfie(Fixed(), FaceUse.NEVER).probability(grid, (0.5, 0.0, 1.0, 1.0), [])
    assert not found[:, :159].any()
    assert found[:, 160:].any()


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (NAN, Refusal.NOT_A_NUMBER),
        (INFINITE, Refusal.NOT_A_NUMBER),
        (np.zeros((1, 100, 256, 1), np.float32), Refusal.WRONG_SIZE),
        (np.zeros((0,), np.float32), Refusal.WRONG_SIZE),
        (np.ones((1, 144, 256, 1), np.float32), Refusal.ALL_PERSON),
        (np.full((1, 144, 256, 1), 1e9, np.float32), Refusal.ALL_PERSON),
    ],
)
def test_nonsense_is_refused(answer: NDArray[np.float32], refusal: Refusal) -> None:
    grid = Grid(view(frame_of(scene(640, 360))))
    with pytest.raises(MaskFault) as caught:
        Selfie(Fixed(answer), FaceUse.NEVER).probability(grid, WHOLE, [])
    assert caught.value.refusal is refusal


def test_low_noise_is_nothing() -> None:
    grid = Grid(view(frame_of(scene(640, 360))))
    noise = np.full((1, 144, 256, 1), 0.01, np.float32)
    assert not Selfie(Fixed(noise), FaceUse.NEVER).probability(grid, WHOLE, []).any()

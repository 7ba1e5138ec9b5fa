"""What a picture's colours say pulls an outline to the real edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import MOST_LOGIT
from service.frame.person.colours import Colours
from tests.frame.person.made import grid_of
from tests.frame.scenes import U8, figure, scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = (320, 180)


def outline(scale: float, soft: float = 6.0) -> NDArray[np.float32]:
    """A soft blob around the figure of the scene, that much too large, at a quarter of the grid."""
    x, y = np.meshgrid(np.arange(80) - 39.5, np.arange(45) - 27.0)
    away = np.hypot(x / (12 * scale), y / (22 * scale))
    return np.asarray(np.clip(soft * (1 - away), -MOST_LOGIT, MOST_LOGIT), np.float32)


def wrong(alpha: U8) -> float:
    """Share of cells that are on the wrong side."""
    return float(((alpha > 127) != (figure(*SIZE) > 127)).mean())


def drawn(logits: NDArray[np.float32]) -> float:
    """The same of the outline alone."""
    grown = np.kron(logits, np.ones((4, 4))) > 0
    return float((grown != (figure(*SIZE) > 127)).mean())


@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_an_outline_snaps_to_the_person(scale: float) -> None:
    logits = outline(scale)
    alpha = Colours().weigh(logits, grid_of(scene(*SIZE)))
    assert alpha.shape == (180, 320)
    assert alpha.dtype == np.uint8
    assert wrong(alpha) < 0.25 * drawn(logits)


def test_it_learns_from_frame_to_frame() -> None:
    """The person's colour is new: at first the old knowledge is in the way."""
    colours = Colours()
    other = np.ascontiguousarray(scene(*SIZE)[..., ::-1])  # blue where orange was
    first = colours.weigh(outline(1.2), grid_of(other))
    for _ in range(30):
        later = colours.weigh(outline(1.2), grid_of(scene(*SIZE)))
    assert wrong(first) < 0.02
    assert wrong(later) < 0.02


def test_reset_forgets() -> None:
    grid = grid_of(scene(*SIZE))
    fresh = Colours().weigh(outline(1.2), grid)
    used = Colours()
    used.weigh(outline(1.2), grid_of(np.ascontiguousarray(scene(*SIZE)[..., ::-1])))
    used.reset()
    np.testing.assert_array_equal(used.weigh(outline(1.2), grid), fresh)


def test_the_same_colour_far_from_the_outline_stays_out() -> None:
    picture = scene(*SIZE)
    picture[4:24, 290:316] = picture[100, 160]  # a poster in the person's colour
    alpha = Colours().weigh(outline(1.0), grid_of(picture))
    assert alpha[80:, 140:180].min() > 200
    assert alpha[8:20, 294:312].max() < 128


@pytest.mark.parametrize("size", [(2, 2), (64, 64), (180, 320), (320, 320)])
def test_every_size_of_picture(size: tuple[int, int]) -> None:
    logits = np.full((max(1, size[1] // 4), max(1, size[0] // 4)), -3.0, np.float32)
    alpha = Colours().weigh(logits, grid_of(scene(*size)))
    assert alpha.shape == size[::-1]


def test_what_is_no_mask_is_refused() -> None:
    grid = grid_of(scene(*SIZE))
    with pytest.raises(MaskFault) as caught:
        Colours().weigh(np.full((45, 80), MOST_LOGIT, np.float32), grid)
    assert caught.value.refusal is Refusal.ALL_PERSON
    broken = outline(1.0)
    broken[3, 3] = np.nan
    with pytest.raises(MaskFault) as caught:
        Colours().weigh(broken, grid)
    assert caught.value.refusal is Refusal.NOT_A_NUMBER

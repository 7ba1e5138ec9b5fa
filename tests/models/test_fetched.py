"""The networks that are not shipped: they can be had, and they see a person where one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.frame.models import Models
from tests.fetched import OF_NPM
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.frame.models import Network
    from tests.fetched import Fetched

pytestmark = [pytest.mark.model, pytest.mark.download, pytest.mark.timeout(600)]

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 1, 2, 5, 6
"""PoseNet's numbers; left is the person's own left."""
IN_PORTRAIT = {
    NOSE: (219, 128),
    LEFT_EYE: (244, 106),
    RIGHT_EYE: (202, 104),
    LEFT_SHOULDER: (320, 270),
    RIGHT_SHOULDER: (105, 262),
}
"""Where they are in the 512 x 512 portrait, by eye, in pixels."""


@pytest.fixture(scope="session")
def fetched(fetched_models: Fetched) -> Callable[[str], Network]:
    """Networks by name, all fetched from where they are published; skips where they cannot be."""
    fetched_models.require(*OF_NPM)
    return Models.load(fetched_models.folder, []).__getitem__


@pytest.fixture(scope="session")
def bodypix(fetched_models: Fetched) -> Network:
    """BodyPix from its authors, or from the test media; skips where there is neither."""
    fetched_models.require("bodypix")
    return Models.load(fetched_models.folder, [])["bodypix"]


def standing(height: int, width: int) -> tuple[NDArray[np.uint8], float, int]:
    """The portrait at the bottom centre of a grey picture; its scale and its left edge."""
    picture = np.full((height, width, 3), 128, np.uint8)
    side = min(height, width)
    left = (width - side) // 2
    person = cv2.resize(astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    picture[height - side :, left : left + side] = person
    return picture, side / 512, left


def test_posenet_finds_nose_eyes_and_shoulders(fetched: Callable[[str], Network]) -> None:
    network = fetched("posenet")
    picture, scale, left = standing(*network.shape[:2])
    heatmaps, offsets, forward, backward = network.run(picture)
    assert 0 <= heatmaps.min() <= heatmaps.max() <= 1
    for joint, (x, y) in IN_PORTRAIT.items():
        row, column = np.unravel_index(heatmaps[joint].argmax(), heatmaps[joint].shape)
        assert heatmaps[joint, row, column] > 0.8
        found = 16 * np.array([column, row]) + offsets[::-1, joint, row, column]
        assert np.abs(found - (x * scale + left, y * scale)).max() < 12 * scale + 4
    ankles = heatmaps[15:17]
    assert ankles.max() < 0.5, "there are none in the picture"
    # The first edge leads from the nose to the left eye, and back.
    eye = np.unravel_index(heatmaps[LEFT_EYE].argmax(), heatmaps[LEFT_EYE].shape)
    nose = np.unravel_index(heatmaps[NOSE].argmax(), heatmaps[NOSE].shape)
    way = (np.array(IN_PORTRAIT[LEFT_EYE]) - IN_PORTRAIT[NOSE])[::-1] * scale
    np.testing.assert_allclose(forward[:, 0, nose[0], nose[1]], way, atol=16)
    np.testing.assert_allclose(backward[:, 0, eye[0], eye[1]], -way, atol=16)


def test_bodypix_segments_the_person(bodypix: Network) -> None:
    picture, scale, left = standing(*bodypix.shape[:2])
    (logits,) = bodypix.run(picture)
    assert logits.shape == (15, 20)

    def at(x: int, y: int) -> float:
        return float(logits[round(y * scale / 16), round((x * scale + left) / 16)])

    assert at(218, 130) > 1, "the face"
    assert at(220, 400) > 1, "the chest"
    assert logits[:, :2].max() < -1, "the grey side"
    assert at(470, 30) < 0, "the shuttle's corner"


def test_rvm_covers_the_person_and_remembers(fetched: Callable[[str], Network]) -> None:
    network = fetched("rvm")
    picture, scale, left = standing(*network.shape[:2])
    first = network.run(picture, *network.first_state())
    second = network.run(picture, *first[1:])
    for person, *state in (first, second):
        assert [item.shape for item in state] == [s.shape for s in network.first_state()]
        assert 0 <= person.min() <= person.max() <= 1
        assert person[round(130 * scale), round(218 * scale + left)] > 0.9, "the face"
        assert person[round(400 * scale), round(220 * scale + left)] > 0.9, "the chest"
        assert person[:, :20].max() < 0.1, "the grey side"
    assert np.abs(second[0] - first[0]).max() > 0.01, "it takes the state in"
    with pytest.raises(ValueError, match="rvm takes 4 arrays of state, not 0"):
        network.run(picture)


def test_mobilenet_has_an_opinion(fetched: Callable[[str], Network]) -> None:
    network = fetched("mobilenet_v2")
    portrait = np.asarray(cv2.resize(astronaut(), (224, 224)), np.uint8)
    (portrait_logits,) = network.run(portrait)
    assert portrait_logits.shape == (5,)
    assert portrait_logits.argmax() == 2, "the package's third class is for ordinary pictures"

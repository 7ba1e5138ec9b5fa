"""Faces are found where they are, whatever the picture's shape, and one of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.frame.faces import Face, FaceDetector, _sigmoid, anchors
from service.frame.models import Models
from service.modelcards import MODELS_DIRECTORY
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from numpy.typing import NDArray

ANCHORS = 896
HEAD = (slice(0, 300), slice(80, 380))
"""Rows and columns of the astronaut's head and shoulders in her picture of 512 x 512."""
FACE = (0.348, 0.158, 0.531, 0.342)
"""Left, top, right, bottom of her face, brow to chin and ear to ear, in the whole picture."""
HEAD_BOX = tuple(
    (side * 512 - origin) / 300 for side, origin in zip(FACE, (80, 0, 80, 0), strict=True)
)
"""The same in the crop."""
TOLERANCE = 0.035


class Answer:
    """A network that says what a test wants and keeps what it was shown."""

    def __init__(self) -> None:
        self.boxes = np.zeros((ANCHORS, 16), np.float32)
        self.logits = np.full(ANCHORS, -500, np.float32)
        self.shown: list[NDArray[np.uint8]] = []

    def candidate(
        self, anchor: int, logit: float, *, centre: tuple[float, float], side: float
    ) -> None:
        """Puts a square box at `centre`, in fractions of the input; its key points lie there."""
        offset = (np.array(centre) - anchors()[anchor]) * 128
        self.boxes[anchor] = np.tile(offset, 8)
        self.boxes[anchor, 2:4] = side * 128
        self.logits[anchor] = logit

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        self.shown.append(image)
        return self.boxes, self.logits


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(Models.load(MODELS_DIRECTORY, ["blazeface_short"])["blazeface_short"])


@pytest.fixture
def answer() -> Answer:
    return Answer()


def head(side: int) -> NDArray[np.uint8]:
    crop = astronaut()[HEAD]
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def pasted(height: int, width: int, *, left: int, top: int, side: int) -> NDArray[np.uint8]:
    picture = np.full((height, width, 3), 110, np.uint8)
    picture[top : top + side, left : left + side] = head(side)
    return picture


def box(face: Face) -> tuple[float, float, float, float]:
    return face.left, face.top, face.right, face.bottom


def test_anchors_are_those_of_the_network() -> None:
    found = anchors()
    assert found.shape == (ANCHORS, 2)
    # 16 x 16 cells with two anchors each, row by row, then 8 x 8 with six.
    for number, x, y in [(0, 1, 1), (1, 1, 1), (2, 3, 1), (32, 1, 3), (511, 31, 31)]:
        assert found[number] == pytest.approx((x / 32, y / 32))
    for number, x, y in [(512, 1, 1), (517, 1, 1), (518, 3, 1), (560, 1, 3), (895, 15, 15)]:
        assert found[number] == pytest.approx((x / 16, y / 16))


@pytest.mark.model
def test_the_astronaut(detector: FaceDetector) -> None:
    (face,) = detector.detect(astronaut())
    assert face.score > 0.85
    assert box(face) == pytest.approx(FACE, abs=0.02)
    right_eye, left_eye, nose, mouth, right_ear, left_ear = face.key_points
    # She looks at the camera: her right is on our left.
    assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < mouth[1]
    assert nose == pytest.approx((0.434, 0.244), abs=0.015)


@pytest.mark.model
@pytest.mark.parametrize(
    ("height", "width", "left", "top", "side"),
    [
        (300, 300, 0, 0, 300),
        (720, 1280, 0, 0, 720),
        (720, 1280, 560, 0, 720),
        (720, 1280, 300, 60, 640),
        (180, 320, 70, 0, 180),
        (1280, 720, 0, 300, 720),
        (640, 360, 0, 280, 360),
        (100, 100, 0, 0, 100),
        (431, 577, 91, 13, 411),
    ],
)
def test_moved_scaled_and_letterboxed(
    detector: FaceDetector, height: int, width: int, left: int, top: int, side: int
) -> None:
    picture = pasted(height, width, left=left, top=top, side=side)
    (face,) = detector.detect(picture)
    in_pixels = np.array(box(face)) * (width, height, width, height)
    in_head = (in_pixels - (left, top, left, top)) / side
    assert tuple(in_head) == pytest.approx(HEAD_BOX, abs=TOLERANCE)
    assert face.score > 0.6


@pytest.mark.model
def test_nobody_in_plain_pictures(detector: FaceDetector) -> None:
    for level in (0, 128, 255):
        assert detector.detect(np.full((360, 640, 3), level, np.uint8)) == []
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (360, 1, 3))
    assert detector.detect(np.ascontiguousarray(ramp)) == []


@pytest.mark.model
def test_two_faces_the_larger_first(detector: FaceDetector) -> None:
    picture = pasted(360, 660, left=0, top=60, side=300)
    picture[:, 300:] = head(360)[:, ::-1]
    first, second = detector.detect(picture)
    assert first.area > second.area
    assert first.left > 300 / 660 > second.right


@pytest.mark.model
def test_the_caller_keeps_the_picture(detector: FaceDetector) -> None:
    picture = astronaut()
    before = picture.copy()
    detector.detect(picture)
    np.testing.assert_array_equal(picture, before)


def test_the_network_sees_the_picture_centred_on_black(answer: Answer) -> None:
    white = np.full((90, 160, 3), 255, np.uint8)
    FaceDetector(answer).detect(white)
    FaceDetector(answer).detect(np.ascontiguousarray(white.transpose(1, 0, 2)))
    wide, tall = answer.shown
    assert wide.shape == tall.shape == (128, 128, 3)
    expected = np.zeros((128, 128, 3), np.uint8)
    expected[28:100] = 255
    np.testing.assert_array_equal(wide, expected)
    np.testing.assert_array_equal(tall, expected.transpose(1, 0, 2))


@pytest.mark.parametrize(("height", "width"), [(1, 1000), (1000, 1), (1, 1), (3, 2)])
def test_tiny_and_thin_pictures_do_not_fail(answer: Answer, height: int, width: int) -> None:
    assert FaceDetector(answer).detect(np.zeros((height, width, 3), np.uint8)) == []
    assert answer.shown[0].shape == (128, 128, 3)


def test_boxes_are_fractions_of_the_picture_and_not_of_the_square(answer: Answer) -> None:
    answer.candidate(600, 3.0, centre=(0.25, 0.5), side=0.2)
    (face,) = FaceDetector(answer).detect(np.zeros((360, 640, 3), np.uint8))
    # The picture fills the square's middle 72 of 128 rows.
    assert (face.left, face.right) == pytest.approx((0.15, 0.35), abs=1e-5)
    assert (face.top, face.bottom) == pytest.approx((0.5 - 0.1 * 128 / 72, 0.5 + 0.1 * 128 / 72))
    assert face.key_points == tuple(pytest.approx((0.25, 0.5), abs=1e-5) for _ in range(6))
    assert face.score == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize(("logit", "faces"), [(-0.01, 0), (0.0, 1), (0.01, 1), (-400, 0)])
def test_the_threshold_is_a_half(answer: Answer, logit: float, faces: int) -> None:
    answer.candidate(10, logit, centre=(0.3, 0.3), side=0.2)
    assert len(FaceDetector(answer).detect(np.zeros((128, 128, 3), np.uint8))) == faces


def test_scores_are_clipped_before_the_sigmoid() -> None:
    # An overflow would be a warning, and warnings are errors here.
    scores = _sigmoid(np.array([-1e30, -1e4, 0.0, 1e4, 1e30], np.float32))
    assert scores.dtype == np.float32
    assert scores == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0], abs=1e-12)


def test_overlapping_boxes_are_averaged_by_score(answer: Answer) -> None:
    answer.candidate(300, 0.0, centre=(0.50, 0.5), side=0.4)
    answer.candidate(301, 100.0, centre=(0.56, 0.5), side=0.4)
    (face,) = FaceDetector(answer).detect(np.zeros((128, 128, 3), np.uint8))
    middle = (0.5 * 0.50 + 1.0 * 0.56) / 1.5
    assert (face.left + face.right) / 2 == pytest.approx(middle)
    assert face.key_points[0][0] == pytest.approx(middle)
    assert face.score == pytest.approx(1.0), "the best one's score, not the average"


def test_boxes_that_hardly_overlap_are_two_faces(answer: Answer) -> None:
    # Two squares of side s moved by d overlap by (s - d) / (s + d).
    answer.candidate(300, 2.0, centre=(0.3, 0.5), side=0.2)
    answer.candidate(301, 1.0, centre=(0.3 + 0.2 * 0.52, 0.5), side=0.2)
    answer.candidate(302, 0.5, centre=(0.8, 0.5), side=0.3)
    answer.candidate(303, 0.4, centre=(0.8 + 0.3 * 0.55, 0.5), side=0.3)
    faces = FaceDetector(answer).detect(np.zeros((128, 128, 3), np.uint8))
    # IoU .316 is one face, .290 is two.
    assert len(faces) == 3
    assert [face.area for face in faces] == pytest.approx([0.09, 0.09, 0.04], abs=1e-5)


def test_a_box_without_an_area_ends_the_search_too(answer: Answer) -> None:
    answer.candidate(300, 2.0, centre=(0.3, 0.5), side=0.0)
    answer.candidate(301, 1.0, centre=(0.3, 0.5), side=0.0)
    faces = FaceDetector(answer).detect(np.zeros((128, 128, 3), np.uint8))
    assert [face.area for face in faces] == [0.0, 0.0]

"""`posenet`: joints are put together to bodies, and bodies are drawn from what is sure of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.mask import MaskFault, Refusal
from service.frame.person.posenet import (
    COLUMNS,
    EDGES,
    INPUT_HEIGHT,
    INPUT_WIDTH,
    JOINTS,
    MOST_POSES,
    ROWS,
    STRIDE,
    PoseNet,
    poses_of,
)
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE
from tests.frame.person.made import blank, grid_of
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from service.frame.models import Models
    from tests.frame.scenes import U8

    Answer = tuple[NDArray[np.float32], ...]

HEAD = [(0, 0), (4, -4), (-4, -4), (9, -2), (-9, -2)]
ARMS = [(20, 30), (-20, 30), (28, 65), (-28, 65), (26, 95), (-26, 95)]
LEGS = [(14, 95), (-14, 95), (14, 140), (-14, 140), (14, 180), (-14, 180)]
STANDING = np.array([*HEAD, *ARMS, *LEGS], np.float32)
"""A body's joints from its nose, px of the input; its left is to the right."""


def body(x: float, y: float, scale: float = 1.0) -> NDArray[np.float32]:
    return np.asarray(STANDING * np.float32(scale) + np.array((x, y), np.float32))


def cell(point: NDArray[np.float32]) -> tuple[int, int]:
    column = min(max(round(float(point[0]) / STRIDE), 0), COLUMNS - 1)
    row = min(max(round(float(point[1]) / STRIDE), 0), ROWS - 1)
    return row, column


def answer_of(
    bodies: Sequence[NDArray[np.float32]], scores: Sequence[float] = (0.9,) * JOINTS
) -> Answer:
    """What the network would say of these bodies, with that score for each joint."""
    heat = np.full((JOINTS, ROWS, COLUMNS), 0.01, np.float32)
    offsets = np.zeros((2, JOINTS, ROWS, COLUMNS), np.float32)
    forward = np.zeros((2, len(EDGES), ROWS, COLUMNS), np.float32)
    backward = np.zeros_like(forward)
    for points in bodies:
        for joint, point in enumerate(points):
            row, column = cell(point)
            heat[joint, row, column] = scores[joint]
            offsets[:, joint, row, column] = point[::-1] - (STRIDE * row, STRIDE * column)
        for edge, (inner, outer) in enumerate(EDGES):
            forward[:, edge, *cell(points[inner])] = (points[outer] - points[inner])[::-1]
            backward[:, edge, *cell(points[outer])] = (points[inner] - points[outer])[::-1]
    return heat, offsets, forward, backward


class Says:
    """A network with one answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __getitem__(self, name: str) -> Says:
        assert name == "posenet"
        return self

    def run(self, image: U8) -> Answer:
        assert image.shape == (INPUT_HEIGHT, INPUT_WIDTH, 3)
        return self._answer


def test_what_it_asks_for() -> None:
    source = PoseNet(Says(answer_of([])))
    assert source.faces is FaceUse.NEVER
    assert not source.looks_closer
    assert source.input_aspect(blank()) == pytest.approx(16 / 9, rel=0.01)


def test_a_body_is_put_together() -> None:
    (pose,) = poses_of(answer_of([body(200, 60)]))
    np.testing.assert_allclose(pose.points, body(200, 60), atol=0.01)
    np.testing.assert_allclose(pose.scores, 0.9, atol=1e-6)


def test_two_bodies_are_kept_apart() -> None:
    poses = poses_of(answer_of([body(120, 60), body(350, 80, 0.8)]))
    found = sorted((pose.points for pose in poses), key=lambda points: float(points[0, 0]))
    assert len(found) == 2
    np.testing.assert_allclose(found[0], body(120, 60), atol=0.01)
    np.testing.assert_allclose(found[1], body(350, 80, 0.8), atol=0.01)


def test_a_body_is_found_from_any_joint_that_is_sure() -> None:
    scores = [0.2] * JOINTS
    scores[10] = 0.8  # a wrist
    (pose,) = poses_of(answer_of([body(200, 60)], scores))
    np.testing.assert_allclose(pose.points, body(200, 60), atol=0.01)


def test_a_lone_joint_is_nobody() -> None:
    scores = [0.05] * JOINTS
    scores[10] = 0.8
    assert poses_of(answer_of([body(200, 60)], scores)) == []


def test_bodies_are_bounded() -> None:
    crowd = [body(40 + 62 * i, 60, 0.6) for i in range(8)]
    assert len(poses_of(answer_of(crowd))) == MOST_POSES


def test_a_picture_full_of_joints_ends_soon() -> None:
    rng = np.random.default_rng(3)
    heat = rng.uniform(0.5, 1.0, (JOINTS, ROWS, COLUMNS)).astype(np.float32)
    offsets = rng.normal(0, 60, (2, JOINTS, ROWS, COLUMNS)).astype(np.float32)
    steps = rng.normal(0, 60, (2, 2, len(EDGES), ROWS, COLUMNS)).astype(np.float32)
    assert len(poses_of((heat, offsets, *steps))) <= MOST_POSES


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", range(4))
def test_what_is_no_number_is_refused(index: int, bad: float) -> None:
    answer = [array.copy() for array in answer_of([body(200, 60)])]
    answer[index].reshape(-1)[77] = bad
    with pytest.raises(MaskFault) as caught:
        PoseNet(Says(tuple(answer))).probability(blank(), WHOLE, [])
    assert caught.value.refusal is Refusal.NOT_A_NUMBER


@pytest.mark.parametrize("index", range(4))
def test_another_size_is_refused(index: int) -> None:
    answer = list(answer_of([body(200, 60)]))
    answer[index] = answer[index][..., 1:]
    with pytest.raises(MaskFault) as caught:
        PoseNet(Says(tuple(answer))).probability(blank(), WHOLE, [])
    assert caught.value.refusal is Refusal.WRONG_SIZE
    with pytest.raises(MaskFault):
        poses_of(answer_of([])[:3])


@pytest.mark.parametrize("factor", [0.0, 1e6, -1e30])
def test_wonky_displacements_never_break_it(factor: float) -> None:
    heat, *others = answer_of([body(200, 60)])
    answer = (heat, *(np.asarray(array * np.float32(factor)) for array in others))
    alpha = PoseNet(Says(answer)).probability(blank(), WHOLE, [])
    assert alpha.shape == (180, 320)


def test_nobody_is_nobody() -> None:
    assert not PoseNet(Says(answer_of([]))).probability(blank(), WHOLE, []).any()


def alpha_of_body(points: NDArray[np.float32], scores: Sequence[float] = (0.9,) * JOINTS) -> U8:
    """Seen in a 640x360 frame: its grid is 320 wide, the input 512."""
    return PoseNet(Says(answer_of([points], scores))).probability(blank(), WHOLE, [])


def at(alpha: U8, x: float, y: float) -> int:
    """Alpha at a point of the input."""
    return int(alpha[round(y * 320 / 512), round(x * 320 / 512)])


def test_a_standing_body_is_drawn_where_it_stands() -> None:
    alpha = alpha_of_body(body(200, 60))
    for place in ((200, 58), (200, 110), (228, 120), (186, 190), (214, 225)):
        assert at(alpha, *place) > 150, place
    for place in ((200, 10), (120, 110), (280, 110), (400, 150)):
        assert at(alpha, *place) < 100, place


def test_joints_that_are_not_sure_are_left_out() -> None:
    stretched = body(200, 60)
    stretched[7], stretched[9] = (270, 95), (310, 60)  # the left arm
    scores = [0.9] * JOINTS
    assert at(alpha_of_body(stretched, scores), 300, 69) > 150
    scores[7] = scores[9] = 0.1
    assert at(alpha_of_body(stretched, scores), 300, 69) < 100


def test_a_body_without_hips_goes_on_to_the_lower_edge() -> None:
    scores = [0.9] * 7 + [0.1] * 10
    alpha = alpha_of_body(body(200, 160), scores)
    assert at(alpha, 200, 280) > 150


def test_a_head_without_shoulders_has_an_average_body() -> None:
    scores = [0.9] * 5 + [0.1] * 12
    alpha = alpha_of_body(body(200, 160, 2.0), scores)
    assert at(alpha, 200, 160) > 150
    assert at(alpha, 200, 270) > 150


@pytest.mark.parametrize("size", [(64, 64), (640, 640), (360, 640), (16, 16), (1280, 16)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    grid = blank(*size)
    alpha = PoseNet(Says(answer_of([body(60, 60)]))).probability(grid, WHOLE, [])
    assert alpha.shape == grid.size[::-1]


def test_upright_pictures_have_their_bodies_in_place() -> None:
    """A 360x640 frame is 162x288 px of the input."""
    alpha = PoseNet(Says(answer_of([body(81, 60)]))).probability(blank(360, 640), WHOLE, [])
    assert alpha[round(60 * 320 / 288), 90] > 150
    assert alpha[round(120 * 320 / 288), 90] > 150
    assert alpha[round(120 * 320 / 288), 5] < 100


@pytest.mark.model
def test_the_astronaut_is_drawn(fetched: Callable[[str], Models]) -> None:
    alpha = PoseNet(fetched("posenet")).probability(grid_of(astronaut()), WHOLE, [])
    assert alpha[60:85, 125:155].mean() > 240, "the face"
    assert alpha[300, 130] > 200, "the suit"
    assert alpha[:40, :40].max() < 128, "the flag"
    assert alpha[20:60, -30:].max() < 128, "the shuttle"

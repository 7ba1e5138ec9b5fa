"""`facemesh`: faces are found once and followed by their points; no face, nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.frame.faces import FaceDetector
from service.frame.mask import MaskFault, Refusal
from service.frame.person.facemesh import (
    BROW,
    CHIN,
    INPUT_PX,
    LEFT_EAR,
    LEFT_EYE,
    MOST_FACES,
    OVAL,
    POINTS,
    RIGHT_EAR,
    RIGHT_EYE,
    FaceMesh,
    head_of,
)
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE
from tests.frame.person.made import SaysFaces, blank, face, grid_of
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.models import Models
    from tests.frame.scenes import U8


def mesh() -> NDArray[np.float32]:
    """A face's points as the network gives them, upright in the middle of its input: an oval of
    96 x 128 px, half and two thirds of the side."""
    points = np.zeros((POINTS, 3), np.float32)
    points[:, :2] = INPUT_PX / 2
    steps = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[list(OVAL), 0] += 48 * np.sin(steps)
    points[list(OVAL), 1] -= 64 * np.cos(steps)
    points[RIGHT_EYE, :2], points[LEFT_EYE, :2] = (72, 80), (120, 80)
    return points


@dataclass
class SaysMesh:
    """A mesh network with one answer."""

    points: NDArray[np.float32] = field(default_factory=mesh)
    presence: float = 8.0
    seen: list[U8] = field(default_factory=list)

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        assert image.shape == (INPUT_PX, INPUT_PX, 3)
        self.seen.append(image.copy())
        return self.points, np.full((1, 1), self.presence, np.float32)


@dataclass
class Networks:
    mesh: SaysMesh = field(default_factory=SaysMesh)
    faces: SaysFaces = field(default_factory=SaysFaces)

    def __getitem__(self, name: str) -> SaysMesh | SaysFaces:
        return self.mesh if name == "facemesh" else self.faces


def refused(networks: Networks) -> Refusal:
    with pytest.raises(MaskFault) as caught:
        FaceMesh(networks).probability(blank(), WHOLE, [face(160, 60, 40)])
    return caught.value.refusal


def test_what_it_asks_for() -> None:
    source = FaceMesh(Networks())
    used = [source.faces]  # until there is somebody to follow
    source.probability(blank(), WHOLE, [face(100, 60, 40)])
    used.append(source.faces)
    source.reset()
    used.append(source.faces)
    assert used == [FaceUse.ALWAYS, FaceUse.SOMETIMES, FaceUse.ALWAYS]
    assert not source.looks_closer
    assert source.input_aspect(blank()) == pytest.approx(16 / 9)


def test_a_person_is_where_the_face_is() -> None:
    alpha = FaceMesh(Networks()).probability(blank(), WHOLE, [face(100, 60, 40)])
    assert alpha.shape == (180, 320)
    assert alpha[60, 100] > 240
    assert alpha[170, 100] > 200
    assert alpha[:, 250:].max() < 128


def test_without_a_face_there_is_nobody_and_nothing_runs() -> None:
    networks = Networks()
    assert not FaceMesh(networks).probability(blank(), WHOLE, []).any()
    assert not networks.mesh.seen


def test_a_face_that_the_points_deny_is_nobody() -> None:
    networks = Networks(SaysMesh(presence=-2.0))
    source = FaceMesh(networks)
    assert not source.probability(blank(), WHOLE, [face(100, 60, 40)]).any()
    assert not source.probability(blank(), WHOLE, []).any()
    assert len(networks.mesh.seen) == 1, "and nothing of it is followed"


def test_a_known_face_is_followed_without_being_given() -> None:
    networks = Networks()
    source = FaceMesh(networks)
    source.probability(blank(), WHOLE, [face(100, 60, 40)])
    alpha = source.probability(blank(), WHOLE, [])
    assert alpha[60, 100] > 240
    networks.mesh.presence = -2.0
    assert not source.probability(blank(), WHOLE, []).any(), "gone"
    networks.mesh.presence = 8.0
    assert not source.probability(blank(), WHOLE, []).any(), "and forgotten"


def test_a_followed_face_that_is_given_again_is_one_person() -> None:
    networks = Networks()
    source = FaceMesh(networks)
    for _ in range(3):
        source.probability(blank(), WHOLE, [face(100, 60, 40)])
    assert len(networks.mesh.seen) == 3


def test_reset_forgets() -> None:
    source = FaceMesh(Networks())
    source.probability(blank(), WHOLE, [face(100, 60, 40)])
    source.reset()
    assert not source.probability(blank(), WHOLE, []).any()


def test_faces_are_bounded() -> None:
    networks = Networks()
    crowd = [face(30 * i, 60, 12) for i in range(1, 10)]
    source = FaceMesh(networks)
    for _ in range(2):
        source.probability(blank(), WHOLE, crowd)
    assert len(networks.mesh.seen) == 2 * MOST_FACES


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_no_numbers_are_refused(bad: float) -> None:
    points = mesh()
    points[7, 1] = bad
    assert refused(Networks(SaysMesh(points))) is Refusal.NOT_A_NUMBER
    assert refused(Networks(SaysMesh(presence=bad))) is Refusal.NOT_A_NUMBER


@pytest.mark.parametrize("size", [0, 467, 936])
def test_points_of_another_number_are_refused(size: int) -> None:
    points = np.zeros((size, 3), np.float32)
    assert refused(Networks(SaysMesh(points))) is Refusal.WRONG_SIZE


@pytest.mark.parametrize("scale", [0.0, 1e-3, 50.0, 1e30])
def test_points_that_are_no_face_are_nobody(scale: float) -> None:
    networks = Networks(SaysMesh((mesh() * scale).astype(np.float32)))
    assert not FaceMesh(networks).probability(blank(), WHOLE, [face(100, 60, 40)]).any()


@pytest.mark.parametrize("size", [(64, 64), (640, 640), (360, 640), (2, 2), (1280, 16)])
def test_every_size_of_frame(size: tuple[int, int]) -> None:
    grid = blank(*size)
    width, height = grid.size
    faces = [face(width / 2, height / 3, min(width, height) / 4, size=(width, height))]
    assert FaceMesh(Networks()).probability(grid, WHOLE, faces).shape == (height, width)


@pytest.mark.parametrize("place", [(-5.0, 60.0), (322.0, 60.0), (160.0, -3.0), (160.0, 175.0)])
def test_a_face_half_out_of_the_picture(place: tuple[float, float]) -> None:
    alpha = FaceMesh(Networks()).probability(blank(), WHOLE, [face(*place, 40)])
    assert alpha.mean() < 128


def test_how_a_head_is_held() -> None:
    upright = mesh()
    upright[RIGHT_EAR, 2], upright[LEFT_EAR, 2] = 0.0, 0.0
    head = head_of(upright)
    assert (head.x, head.y) == pytest.approx((96, 85), abs=1), (
        "the ears' points are above the middle"
    )
    assert head.side == pytest.approx((96 + 128) / 2, rel=0.03)
    assert head.lean == pytest.approx(0)
    assert head.turn == pytest.approx(0)
    turned = upright.copy()
    # Turned by 60 degrees to its left: half as wide in the picture, and the left ear further away.
    turned[:, 0] = 96 + (upright[:, 0] - 96) / 2
    turned[:, 2] = (upright[:, 0] - 96) * 3**0.5 / 2
    assert head_of(turned).side == pytest.approx(head.side, rel=1e-3), "a turn makes nobody smaller"
    assert head_of(turned).turn > 0.5
    assert head_of(upright * np.float32(2)).side == pytest.approx(2 * head.side)
    assert upright[BROW, 1] < upright[CHIN, 1]


@pytest.mark.model
def test_the_astronaut_is_drawn_and_followed(shipped: Models) -> None:
    grid = grid_of(astronaut())
    faces = FaceDetector(shipped["blazeface_short"]).detect(astronaut())
    source = FaceMesh(shipped)
    for known in (faces, []):
        alpha = source.probability(grid, WHOLE, known)
        (found,) = faces
        top, bottom, left, right = (
            round(320 * v) for v in (found.top, found.bottom, found.left, found.right)
        )
        assert alpha[top:bottom, left:right].mean() > 240, "the face"
        assert alpha[300, 130] > 200, "the suit"
        assert alpha[:40, :40].max() < 128, "the flag"
        assert alpha[20:60, -30:].max() < 128, "the shuttle"


@pytest.mark.model
def test_points_follow_a_face_that_leans_and_moves(shipped: Models) -> None:
    """The astronaut turned by 40 degrees in ten steps, never given again after the first frame."""
    picture = astronaut()
    source = FaceMesh(shipped)
    faces = FaceDetector(shipped["blazeface_short"]).detect(picture)
    for step in range(11):
        back = cv2.getRotationMatrix2D((220, 115), -4.0 * step, 1.0)
        back[0, 2] += 6 * step
        moved = np.asarray(cv2.warpAffine(picture, back, (512, 512)), np.uint8)
        alpha = source.probability(grid_of(moved), WHOLE, faces if step == 0 else [])
        x, y = (220 + 6 * step) * 320 / 512, 115 * 320 / 512
        assert alpha[round(y), round(x)] > 240, step


@pytest.mark.model
def test_an_empty_room_denies_a_face(shipped: Models) -> None:
    assert not FaceMesh(shipped).probability(blank(), WHOLE, [face(160, 60, 40)]).any()

"""Options for the person's own picture in the whole frame path, with the real networks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.attention import Attention
from service.frame.composite import Kind
from service.frame.faces import FaceDetector
from service.frame.grid import Grid
from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.frame.planes import view
from service.policy.effects import Blur, Color
from tests.frame.scenes import U8, KeyNetworks, frame_of, rgb_of, scene
from tests.frame.sitting import networks, pipeline_of, played, sitting

GREEN = "#00b140"
SETTLED = 130
"""Frames in which a window has come to rest, first looks for the face and all."""


def face_of(rgb: U8) -> tuple[float, float, float]:
    """Middle of the face and its height, as the face network sees it."""
    attention = Attention(FaceDetector(networks()["blazeface_short"]))
    for look in range(3):
        attention.look(Grid(view(frame_of(rgb))), float(look))
    (face,) = attention.faces()
    middle = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    return *middle, face.bottom - face.top


@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_framing_keeps_size_and_place_wherever_somebody_sits(size: tuple[int, int]) -> None:
    upright = size[0] < size[1]
    found = []
    for x in (0.38, 0.62):
        rgb = sitting(size, x=x, head=0.6 if upright else 0.45, tall=0.18 if upright else 0.28)
        plain = face_of(rgb)
        assert abs(plain[0] - x) < 0.05  # the measure is one
        framed = pipeline_of(Look(Color(GREEN, framing=1.0)))
        for result in played(framed, [rgb] * SETTLED):
            assert result.kind is Kind.MATTE
            assert (result.frame.width, result.frame.height) == size
            shown = rgb_of(result.frame)
        found.append(face_of(shown))
        assert found[-1][2] > 1.2 * plain[2]
        assert abs(found[-1][0] - 0.5) < 0.06
        gone = shown[:, :8].reshape(-1, 3)
        assert np.abs(gone.astype(int) - (0, 177, 64)).max() < 12  # no room at the sides
    assert abs(found[0][1] - found[1][1]) < 0.05
    assert abs(found[0][2] - found[1][2]) < 0.04


def test_picture_and_alpha_are_cut_alike() -> None:
    """Where alpha is full, the picture is the camera's, cut; where it is none, the background."""
    rgb = sitting((640, 360), x=0.4, head=0.42, tall=0.28)
    pipeline = pipeline_of(Look(Color(GREEN, framing=1.0)))
    still = []
    for result in played(pipeline, [rgb] * SETTLED):
        shown, alpha = rgb_of(result.frame).astype(int), pipeline.alpha()
        still.append(alpha.tobytes())
    assert len(set(still[-12:])) <= 3  # it stays as long as the matte's own mask does
    window = pipeline._staging._framing.window
    assert 0.5 <= window.size < 0.9
    inset = (window.size - 1) / 2
    back = np.array(
        [[window.size, 0, window.left * 640 + inset], [0, window.size, window.top * 360 + inset]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    camera = rgb_of(frame_of(rgb))
    ideal = cv2.warpAffine(camera, back, (640, 360), flags=flags).astype(int)
    assert np.abs(shown - ideal)[alpha == 255].mean() < 3
    assert np.abs(shown - (0, 177, 64))[alpha == 0].max() < 6


def test_a_blurred_room_is_cut_like_the_person_before_it() -> None:
    """Where the room turns from dark to light is where the window puts it."""
    rgb = sitting((640, 360), x=0.4, head=0.42, tall=0.28)
    rgb[:, 420:] = 255
    seen = []
    for framing in (0.0, 1.0):
        pipeline = pipeline_of(Look(Blur(0.0, framing=framing)))
        for result in played(pipeline, [rgb] * SETTLED):
            last = view(result.frame).y.copy()
        seen.append(last)
    window = pipeline._staging._framing.window
    whole, cut = seen
    ideal = cv2.warpAffine(
        whole,
        np.array([[window.size, 0, window.left * 640], [0, window.size, window.top * 360]]),
        (640, 360),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    room = slice(0, 150), slice(440, None)
    assert float(ideal[room].std()) > 10
    assert np.abs(cut.astype(int) - ideal)[room].mean() < 3


def test_a_mask_that_is_none_is_not_made_one_by_cutting() -> None:
    keyed = KeyNetworks()
    pipeline = Pipeline(keyed, Look(Color(GREEN, framing=1.0)))
    keyed.person.answer = np.ones_like
    for index in range(3):
        result = pipeline.process(frame_of(scene(640, 360), index=index))
        shown = rgb_of(result.frame).astype(int)
        assert np.abs(shown - (0, 177, 64)).max() < 6
        result.release()


def test_turned_mid_call_the_window_starts_anew() -> None:
    pipeline = pipeline_of(Look(Color(GREEN, framing=1.0)))
    first = sitting((640, 360), x=0.4, head=0.42, tall=0.28)
    for _ in played(pipeline, [first] * SETTLED):
        pass
    assert pipeline._staging._framing.window.size < 0.9
    turned = sitting((360, 640), head=0.4, tall=0.2)
    for number, result in enumerate(played(pipeline, [turned] * 3, first=SETTLED)):
        assert (result.frame.width, result.frame.height) == (360, 640)
        assert result.kind is Kind.MATTE, number
    assert pipeline._staging._framing.window.size > 0.97

"""No rim around a person: colours just outside of the outline, against the ideal composite.

The person is the tests' portrait, cut out and set in one of the service's own rooms, so that the
ideal is known to the pixel. Printed with -s; docs/quality.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.evaluation.methods import Plain
from service.frame import background
from service.frame.blur import CEILING_SHARE, FLOOR_SHARE
from service.frame.look import Look
from service.frame.models import Models
from service.frame.picture import Picture, decode_picture
from service.frame.pipeline import Composited, Pipeline
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import Blur, Fit, Image
from tests.frame.portrait import cutout
from tests.frame.scenes import U8, frame_of, rgb_of

if TYPE_CHECKING:
    import av

BACKGROUNDS = MODELS_DIRECTORY.parent / "backgrounds"
WIDTH, HEIGHT = 640, 360
OUTSIDE_PX = 3
FRAMES = 40
SETTLED = 10
MOST = 12.0
"""Mean colour error of 255, over R, G and B."""


def picture(name: str) -> Picture:
    return decode_picture((BACKGROUNDS / f"{name}.webp").read_bytes())


def shot(index: int, behind: U8) -> tuple[U8, U8]:
    """The portrait before a room of the frame's size, and its alpha; she sways a little."""
    scale, x = 0.95 * HEIGHT / 512, 160 + 4 * np.sin(index / 6)
    matrix = np.array([[scale, 0, x], [0, scale, HEIGHT - 500 * scale]], np.float32)
    smooth = cv2.GaussianBlur(cutout(), (0, 0), 0.7)
    moved = cv2.warpAffine(smooth, matrix, (WIDTH, HEIGHT)).astype(np.float32)
    alpha = moved[..., 3:] / 255
    return np.rint(moved[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8), np.rint(
        moved[..., 3]
    ).astype(np.uint8)


def ring(alpha: U8) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The pixels outside of the outline (alpha one half) and at most OUTSIDE_PX from it."""
    inside = (alpha > 127).astype(np.uint8)
    side = 2 * OUTSIDE_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray((cv2.dilate(inside, disc) > 0) & (inside == 0))


def error(found: U8, ideal: U8, alpha: U8) -> float:
    return float(np.abs(found.astype(int) - ideal)[ring(alpha)].mean())


def seen(frame: av.VideoFrame) -> U8:
    """The camera's own frame, as 4:2:0 keeps it: half the chroma is no fault of the matte."""
    return rgb_of(frame)


@pytest.mark.model
@pytest.mark.parametrize("kind", ["image", "blur"])
def test_no_rim(kind: str) -> None:
    names = sorted(path.stem for path in BACKGROUNDS.glob("*.webp"))
    room = background.covered(picture(names[0]).rgb, (WIDTH, HEIGHT))
    models = Models.load(MODELS_DIRECTORY)
    sigma = None
    if kind == "image":
        shown = picture(names[-1])
        look = Look(Image(names[-1]), shown)
        ideal_room = background.covered(shown.rgb, (WIDTH, HEIGHT))
    else:
        look = Look(Blur(0.5))
        sigma = (FLOOR_SHARE + 0.5 * (CEILING_SHARE - FLOOR_SHARE)) * WIDTH
        ideal_room = np.asarray(cv2.GaussianBlur(room, (0, 0), sigma), np.uint8)
    assert look.effect is not None
    assert not isinstance(look.effect, Image) or look.effect.fit is Fit.COVER
    pipeline, plain = Pipeline(models, look), Plain(models)
    ours, theirs = [], []
    for index in range(FRAMES):
        camera, alpha = shot(index, room)
        ideal, _ = shot(index, ideal_room)
        frame = frame_of(camera, index=index)
        result = pipeline.process(frame)
        assert isinstance(result, Composited)
        found = rgb_of(result.frame)
        result.release()
        rough = plain.step(frame, show=False).alpha[..., None] / 255
        behind = ideal_room if sigma is None else cv2.GaussianBlur(camera, (0, 0), sigma)
        compared = np.rint(seen(frame) * rough + behind * (1 - rough)).astype(np.uint8)
        if index >= SETTLED:
            ours.append(error(found, ideal, alpha))
            theirs.append(error(compared, ideal, alpha))
    print(f"{kind}: {np.mean(ours):.1f} of 255, the plain network {np.mean(theirs):.1f}")  # noqa: T201
    assert np.mean(ours) <= MOST
    assert np.mean(ours) < np.mean(theirs)

"""The portrait in a room, anywhere, at any size and in any light, and pipelines with the real
networks to look at it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.models import Models
from service.frame.pipeline import Composited, Pipeline
from service.modelcards import MODELS_DIRECTORY
from tests.frame.portrait import HEAD, cutout
from tests.frame.scenes import U8, frame_of, room

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service.frame.look import Look


@cache
def networks() -> Models:
    return Models.load(MODELS_DIRECTORY)


def sitting(
    size: tuple[int, int], *, x: float = 0.5, head: float = 0.35, tall: float = 0.3,
    light: float = 1.0,
) -> U8:  # fmt: skip
    """RGB. x, head: where the middle of the head is, of width and height; tall: of the head, of the
    height; light: of what falls on the person."""
    width, height = size
    picture = room(*size).astype(np.float32) * 0.5 + 60
    (head_x, head_y), (_, half) = HEAD
    scale = tall * height / (2 * half)
    place = np.array(
        [[scale, 0, x * width - scale * head_x], [0, scale, head * height - scale * head_y]],
        np.float32,
    )
    person = cv2.warpAffine(cutout(), place, size, flags=cv2.INTER_AREA).astype(np.float32)
    alpha = person[..., 3:] / 255
    lit = np.clip(light * person[..., :3], 0, 255)
    return np.asarray(np.rint(lit * alpha + picture * (1 - alpha)), np.uint8)


def played(pipeline: Pipeline, pictures: Sequence[U8], *, first: int = 0) -> Iterator[Composited]:
    """Frame by frame; what comes out is valid until the next one."""
    for index, rgb in enumerate(pictures):
        result = pipeline.process(frame_of(rgb, index=first + index))
        assert isinstance(result, Composited)
        yield result
        result.release()


def pipeline_of(look: Look) -> Pipeline:
    return Pipeline(networks(), look)

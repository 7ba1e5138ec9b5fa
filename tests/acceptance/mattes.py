"""Judges what came back against the exact alpha of the very frame it was made from."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import cv2
import numpy as np

from loadtest import clip as clips
from tests.acceptance.streaming import Journey, send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLOUR = "#00b140"
TOLERANCE = 48
"""Per RGB channel, of 255: what an encoder and its chroma subsampling may change."""
BAND_PX = 12
"""Around the alpha's edge nothing is judged: hair, blur and chroma subsampling are there."""
SETTLED_FRAMES = 30
BITRATE_BPS = 2_500_000
"""High: the sender's encoder is not what is judged."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one clip and codec; shares from 0 to 1."""

    name: str
    codec: str
    hidden: float
    "Mean share of background pixels that came back in the colour, from the first frame on."
    worst_hidden: float
    "The same of the worst frame."
    first_hidden: float
    "The same of the first frame that came back."
    kept: float
    "Mean share of the person's pixels that did not come back in it, from SETTLED_FRAMES on."
    returned: float
    "Frames back over frames sent."
    rewinds: int


@dataclass(frozen=True, slots=True)
class MatteClip:
    """A clip and its alpha."""

    name: str
    film: list[av.VideoFrame]
    alpha: list[NDArray[np.uint8]]
    fps: int

    @classmethod
    def load(cls, video: Path, seconds: float | None) -> MatteClip:
        """The first seconds, or all, of NAME.mp4 with NAME.alpha.mkv."""
        fps = clips.rate_of(video)
        # One more than is judged: the last picture is not given out.
        limit = 100_000 if seconds is None else round(seconds * fps) + 1
        film = clips.filmed(video, None, limit)
        with av.open(str(video.with_suffix(".alpha.mkv"))) as container:
            alpha = [
                cast("NDArray[np.uint8]", frame.to_ndarray(format="gray"))
                for frame, _ in zip(container.decode(video=0), film, strict=False)
            ]
        assert len(alpha) == len(film), f"{video.name}: alpha and video differ in length"
        return cls(video.stem, film, alpha, fps)

    async def judge(self, url: str, codec: clips.Codec) -> Verdict:
        """Send it through the service with a colour behind the person."""
        encoded = clips.encode(self.film, codec, self.fps, bitrate_bps=BITRATE_BPS)
        journey = await send(
            url,
            encoded,
            {"type": "color", "color": COLOUR},
            person=[alpha == 255 for alpha in self.alpha],
        )
        return self._verdict(journey, codec)

    def _verdict(self, journey: Journey, codec: clips.Codec) -> Verdict:
        hidden, kept = [], []
        for back in journey.pictures:
            background, person = judged(self.alpha[back.clip_index])
            coloured = is_colour(back.rgb)
            hidden.append(float(coloured[background].mean()))
            if back.clip_index >= SETTLED_FRAMES and person.any():
                kept.append(float(1 - coloured[person].mean()))
        return Verdict(
            name=self.name,
            codec=codec.value,
            hidden=statistics.mean(hidden),
            worst_hidden=min(hidden),
            first_hidden=hidden[0],
            kept=statistics.mean(kept),
            returned=journey.returned / journey.sent,
            rewinds=journey.rewinds,
        )


def judged(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where (H x W) the picture is surely background and surely person, BAND_PX off the edge."""
    size = 2 * BAND_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    background = cv2.dilate((alpha > 0).astype(np.uint8), disc) == 0
    person = cv2.dilate((alpha < 255).astype(np.uint8), disc) == 0
    return np.asarray(background), np.asarray(person)


def is_colour(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels (H x W) show COLOUR."""
    wanted = np.array([int(COLOUR[i : i + 2], 16) for i in (1, 3, 5)], np.int16)
    return cast(
        "NDArray[np.bool_]", (np.abs(rgb.astype(np.int16) - wanted) <= TOLERANCE).all(axis=2)
    )


def mattes(media: Path) -> list[Path]:
    """The clips that have an exact alpha."""
    return sorted(
        video
        for video in (media / "matte").glob("*.mp4")
        if video.with_suffix(".alpha.mkv").exists()
    )


def table(verdicts: Sequence[Verdict]) -> str:
    """Percent, one clip a line."""
    lines = [
        f"{'clip':24} {'codec':5} {'hidden':>7} {'worst':>7} {'first':>7} {'kept':>7} {'back':>7}"
    ]
    lines += [
        f"{one.name:24} {one.codec:5} "
        + " ".join(
            f"{100 * share:7.2f}"
            for share in (one.hidden, one.worst_hidden, one.first_hidden, one.kept, one.returned)
        )
        for one in verdicts
    ]
    for codec in sorted({one.codec for one in verdicts}):
        of_codec = [one for one in verdicts if one.codec == codec]
        lines.append(
            f"{'mean':24} {codec:5} "
            f"{100 * statistics.mean(one.hidden for one in of_codec):7.2f} {'':7} {'':7} "
            f"{100 * statistics.mean(one.kept for one in of_codec):7.2f} "
            f"{100 * statistics.mean(one.returned for one in of_codec):7.2f}"
        )
    return "\n".join(lines)

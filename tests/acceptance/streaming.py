"""Sends an encoded clip through a running service and gives back every picture that returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import aiohttp
import av
import cv2
import numpy as np

from loadtest.adapters import Backcloth, Wish
from loadtest.client import Client, Coded
from loadtest.clip import Codec, EncodedClip, luma_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MATCHED_FRAMES = 25
"""Pictures that decide which returned frame is which sent one."""
LONGEST_SHIFT_FRAMES = 40
"""A server that missed the first keyframe has asked for another by then."""


@dataclass(frozen=True, slots=True)
class Back:
    """One picture that came back."""

    clip_index: int
    "The sent frame that it was made from."
    rgb: NDArray[np.uint8]
    luma: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Journey:
    """A clip's way through the service."""

    sent: int
    returned: int
    rewinds: int
    "Keyframes that the service had to ask for."
    pictures: list[Back]
    "All but the last: aiortc gives a frame out when the one after it has come."


async def send(
    url: str,
    clip: EncodedClip,
    effect: Mapping[str, object],
    *,
    person: Sequence[NDArray[np.bool_]] | None = None,
) -> Journey:
    """Play a clip once. `person`: per frame of the clip, where it must survive (H x W); with it
    returned pictures are matched to sent ones by their looks, without it first to first."""
    wish = Wish(effect=effect, width=clip.width, height=clip.height, fps=clip.fps)
    async with aiohttp.ClientSession() as http:
        client = Client(clip, Backcloth(http, url, wish), loop=False, keep=True)
        try:
            await client.start()
            await client.play_through()
        finally:
            await client.close()
    frames = decoded(client.coded, clip.codec)
    shift = 0
    if person is not None:
        shift = _best_shift(client, frames, _sources(clip), person)
    pictures = [
        Back(
            client.sent[number + shift].clip_index,
            cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24")),
            luma_of(frame),
        )
        for number, frame in frames
        if number + shift < len(client.sent)
    ]
    return Journey(len(client.sent), len(client.returned), client.player.rewinds, pictures)


def decoded(coded: Sequence[Coded], codec: Codec) -> list[tuple[int, av.VideoFrame]]:
    """Numbers and pictures, in order."""
    context = av.CodecContext.create("h264" if codec is Codec.H264 else "vp8", "r")
    context.options = {"flags": "+low_delay"}
    context.thread_count = 1
    return [
        (one.number, picture) for one in coded for picture in context.decode(av.Packet(one.data))
    ]


def _sources(clip: EncodedClip) -> list[NDArray[np.uint8]]:
    coded = [Coded(index, data) for index, data in enumerate(clip.frames)]
    return [luma_of(frame) for _, frame in decoded(coded, clip.codec)]


def _best_shift(
    client: Client,
    frames: Sequence[tuple[int, av.VideoFrame]],
    sources: Sequence[NDArray[np.uint8]],
    person: Sequence[NDArray[np.bool_]],
) -> int:
    """Sent minus returned number under which the person looks most alike in all pictures."""
    inner = frames[5 : 5 + MATCHED_FRAMES]
    scores: dict[int, float] = {}
    for shift in range(LONGEST_SHIFT_FRAMES):
        pairs = [
            (luma_of(frame), client.sent[number + shift].clip_index)
            for number, frame in inner
            if number + shift < len(client.sent)
        ]
        if len(pairs) == len(inner):
            scores[shift] = float(
                np.mean(
                    [
                        cv2.absdiff(luma, sources[index])[person[index]].mean()
                        for luma, index in pairs
                    ]
                )
            )
    assert scores, "too few pictures came back to match them"
    return min(scores, key=lambda shift: scores[shift])

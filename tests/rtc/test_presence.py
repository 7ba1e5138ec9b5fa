"""Whether the person is in view: from the pipeline, through the worker's job, to the peer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from service.frame.look import Look
from service.frame.pipeline import Composited, Pipeline, Untouched
from service.policy.effects import Nothing
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import connected

if TYPE_CHECKING:
    import av

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]


class Watched:
    """A pipeline whose person comes and goes as the test says, away for every other ten frames."""

    def __init__(self, inner: Pipeline) -> None:
        self._inner = inner
        self._count = 0
        self.change = inner.change
        self.closed = inner.closed

    def process(self, frame: av.VideoFrame) -> Composited | Untouched:
        self._count += 1
        if self._count % 10 == 5:
            raise RuntimeError("injected: of such a frame nothing is known")
        return self._inner.process(frame)

    @property
    def away(self) -> bool:
        assert threading.current_thread().name.startswith("frames")
        return self._count // 10 % 2 == 1


async def test_each_change_is_told_once(make_pipeline: MakePipeline) -> None:
    client = Client(Camera(moving_picture))

    def make(look: Look) -> Pipeline:
        return Watched(make_pipeline(look))  # type: ignore[return-value]

    async with connected(client, make) as both:
        (track,) = both.peer.describe_tracks()
        assert (track["person"], track["person_changed_at"]) == ("in_view", None)
        await client.wait_for(lambda: len(both.presence) >= 3)
        assert both.presence[:3] == [("0", True), ("0", False), ("0", True)]
        assert both.counts.person[:3] == ["away", "in_view", "away"]
        (track,) = both.peer.describe_tracks()
        assert track["person"] == ("away" if both.presence[-1][1] else "in_view")
        assert track["person_changed_at"] is not None


async def test_nobody_looks_while_there_is_no_effect(make_pipeline: MakePipeline) -> None:
    client = Client(Camera(moving_picture))

    def make(look: Look) -> Pipeline:
        return Watched(make_pipeline(look))  # type: ignore[return-value]

    async with connected(client, make, look=Look(Nothing())) as both:
        await client.frames(25)
        assert both.presence == []

"""A service's peer against stock aiortc over real sockets: the hazards, one by one."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from aiortc.mediastreams import AudioStreamTrack

from service.errors import BadOffer, UnsupportedOffer
from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.policy.effects import Nothing
from service.rtc import ice as ice_module
from service.rtc.codecs import Codec
from service.rtc.peer import PeerState
from tests.peers import Camera, Client, LossyRelay
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import GREEN, connected, peer_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.composite import Composited, Untouched

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]
GREEN_RGB = np.array([0x00, 0xB1, 0x40])


def is_green(frame: av.VideoFrame) -> bool:
    """Whether the whole picture is the colour: no person in it, so the background alone."""
    return bool(np.abs(frame.to_ndarray(format="rgb24").astype(int) - GREEN_RGB).max() < 24)


def camera(width: int = 320, height: int = 180) -> Camera:
    return Camera(lambda number: moving_picture(number, width=width, height=height))


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_camera_comes_back_in_the_colour_with_its_sound(
    codec: str, make_pipeline: MakePipeline
) -> None:
    client = Client(camera(), AudioStreamTrack(), codec=codec)
    async with connected(client, make_pipeline) as both:
        await client.frames(20)
        await client.wait_for(lambda: client.audio.total >= 10, audio=True)
        assert all(is_green(frame) for frame in client.video.frames)
        assert both.counts.raw == 0
        assert both.counts.frames["sent"] >= 20
        assert set(both.counts.stages) >= {"decode", "person", "encode"}
        (track,) = both.peer.describe_tracks()
        assert (track["width"], track["height"]) == (320, 180)
        assert PeerState.LIVE in both.states


async def test_what_is_large_goes_with_the_peer_and_waits_for_no_garbage_collection(
    make_pipeline: MakePipeline,
) -> None:
    made: list[weakref.ref[Pipeline]] = []

    def watched(look: Look) -> Pipeline:
        pipeline = make_pipeline(look)
        made.append(weakref.ref(pipeline))
        return pipeline

    gc.disable()
    try:
        client = Client(camera())
        async with connected(client, watched) as both:
            await client.frames(5)
            assert [one() is not None for one in made] == [True]
            peer = both.peer
        assert peer.tracks  # its small parts may be in circles still
        assert [one() for one in made] == [None]
    finally:
        gc.enable()


async def test_h264_is_preferred_and_vp8_alone_is_a_setting(make_pipeline: MakePipeline) -> None:
    async with connected(Client(camera()), make_pipeline) as both:
        assert first_codec(both.answer) == "H264"
    settings = peer_settings(codecs=(Codec.VP8,))
    async with connected(Client(camera()), make_pipeline, settings=settings) as both:
        assert first_codec(both.answer) == "VP8"
        assert "H264" not in both.answer
        await both.client.frames(5)


def first_codec(answer: str) -> str:
    payload = answer.split("m=video")[1].split("\r\n")[0].split()[2]
    return answer.split(f"a=rtpmap:{payload} ")[1].split("/")[0]


async def test_audio_that_the_session_does_not_want_is_declined(
    make_pipeline: MakePipeline,
) -> None:
    client = Client(camera(), AudioStreamTrack())
    async with connected(client, make_pipeline, audio=False) as both:
        assert "a=inactive" in both.answer.split("m=audio")[1].split("m=")[0]
        await client.frames(5)
        assert client.audio.total == 0


async def test_two_cameras_are_two_tracks(make_pipeline: MakePipeline) -> None:
    client = Client(camera(), camera(width=180, height=320))
    async with connected(client, make_pipeline) as both:
        await client.frames(20)
        sizes = {(t["width"], t["height"]) for t in both.peer.describe_tracks()}
        assert sizes == {(320, 180), (180, 320)}


async def test_the_size_may_change(make_pipeline: MakePipeline) -> None:
    sizes = [(320, 180), (640, 360), (180, 320), (320, 180)]

    def draw(number: int) -> av.VideoFrame:
        width, height = sizes[min(number // 20, 3)]
        return moving_picture(number, width=width, height=height)

    client = Client(Camera(draw), keep=200)
    async with connected(client, make_pipeline) as both:
        await client.frames(75)
        seen = [(frame.width, frame.height) for frame in client.video.frames]
        assert list(dict.fromkeys(seen)) == sizes[:3]
        assert seen[-1] == sizes[3]
        assert all(is_green(frame) for frame in client.video.frames)
        assert both.counts.raw == 0


class Faulty:
    """A pipeline that fails on some frames, in the place of a real one."""

    def __init__(self, inner: Pipeline, fails: Callable[[int], bool]) -> None:
        self._inner = inner
        self._fails = fails
        self.count = 0

    def change(self, look: Look) -> None:
        self._inner.change(look)

    def process(self, frame: av.VideoFrame) -> Composited | Untouched:
        self.count += 1
        if self._fails(self.count):
            raise RuntimeError("injected")
        return self._inner.process(frame)

    @property
    def away(self) -> bool:
        return self._inner.away

    def closed(self, width: int, height: int) -> Composited:
        return self._inner.closed(width, height)


async def test_a_fault_in_one_frame_costs_that_frame(make_pipeline: MakePipeline) -> None:
    def make(look: Look) -> Pipeline:
        return Faulty(make_pipeline(look), lambda n: n % 7 == 3)  # type: ignore[return-value]

    client = Client(camera())
    async with connected(client, make) as both:
        await client.frames(30)
        assert both.counts.dropped["frame_error"] >= 4
        assert all(is_green(frame) for frame in client.video.frames)
        assert both.counts.raw == 0


async def test_an_encoder_error_costs_that_frame(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(camera())
    async with connected(client, make_pipeline) as both:
        await client.frames(5)
        (track,) = both.peer.tracks.values()
        encode = track._encoder.encode  # type: ignore[union-attr]
        calls = iter([True, False, True])

        def fails(*args: object, **kwargs: object) -> list[bytes]:
            if next(calls, False):
                raise av.error.InvalidDataError(1, "injected")
            return encode(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(track._encoder, "encode", fails)
        await client.frames(20)
        assert both.counts.dropped["encode_error"] == 2


async def test_closing_does_not_wait_for_a_slow_frame(make_pipeline: MakePipeline) -> None:
    """aiortc joins its decoder thread on the loop: 84 queued frames stalled it for seconds."""
    started, release = threading.Event(), threading.Event()

    class Slow(Faulty):
        def process(self, frame: av.VideoFrame) -> Composited | Untouched:
            started.set()
            release.wait(20)
            return super().process(frame)

    def make(look: Look) -> Pipeline:
        return Slow(make_pipeline(look), lambda _n: False)  # type: ignore[return-value]

    client = Client(camera())
    try:
        async with connected(client, make) as both:
            async with asyncio.timeout(10):
                await asyncio.to_thread(started.wait, 10)
            both.peer.close("test")
            assert await both.ended(timeout_s=5) == "test"
            release.set()
    finally:
        release.set()


async def test_a_peer_that_never_connects_is_ended(make_pipeline: MakePipeline) -> None:
    settings = peer_settings(connect_timeout_s=0.3)
    client = Client(camera())
    async with connected(client, make_pipeline, settings=settings, accept=False) as both:
        assert await both.ended() == "connect_timeout"
        assert both.states == [PeerState.CLOSED]


async def test_a_client_that_leaves_ends_its_peer(make_pipeline: MakePipeline) -> None:
    client = Client(camera())
    async with connected(client, make_pipeline) as both:
        await client.frames(3)
        await client.close()
        assert await both.ended() == "left"


async def test_a_silent_peer_is_suspended_and_then_ended(make_pipeline: MakePipeline) -> None:
    relay = LossyRelay()
    settings = peer_settings(suspend_after_s=0.7, end_after_s=4.0)
    client = Client(camera())
    async with connected(client, make_pipeline, settings=settings, relay=relay) as both:
        await client.frames(5)
        relay.cut = True
        await both.became(PeerState.SUSPENDED)
        received = both.counts.frames["received"]
        relay.cut = False
        both.states.clear()
        await both.became(PeerState.LIVE)
        await client.frames(5)
        assert both.counts.frames["received"] > received
        relay.cut = True
        assert await both.ended() == "silent"


async def test_loss_is_repaired(make_pipeline: MakePipeline) -> None:
    """A fifth of all packets lost both ways, retransmissions and consent checks included."""
    relay = LossyRelay()
    client = Client(camera(), codec="VP8")
    async with connected(client, make_pipeline, relay=relay) as both:
        await client.frames(10)
        relay.loss = 0.2
        await both.counts.more("received", 90, timeout_s=60)
        relay.loss = 0.0
        await both.counts.more("sent", 60)
        assert relay.lost > 20
        assert PeerState.SUSPENDED not in both.states
        assert both.counts.raw == 0
        assert all(is_green(frame) for frame in client.video.frames[-5:])


async def test_silence_of_the_consent_checks_alone_ends_nothing(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Media goes on and every STUN packet is lost: aioice alone would end it after six checks."""
    monkeypatch.setattr(ice_module, "CONSENT_INTERVAL_S", 0.05)
    relay = LossyRelay()
    client = Client(camera())
    settings = peer_settings(suspend_after_s=1.0, end_after_s=2.0)
    async with connected(client, make_pipeline, settings=settings, relay=relay) as both:
        await client.frames(5)
        relay.loses = lambda data: data[0] < 4
        await both.counts.more("sent", 100)
        assert relay.lost >= 5
        assert both.states == [PeerState.LIVE]


async def test_two_cameras_with_losses_are_repaired_both(make_pipeline: MakePipeline) -> None:
    relay = LossyRelay()
    client = Client(camera(), camera(), codec="VP8")
    async with connected(client, make_pipeline, relay=relay) as both:
        await client.frames(10)
        relay.loss = 0.15
        await both.counts.more("sent", 150, timeout_s=40)
        relay.loss = 0.0
        receivers = [track._receiver for track in both.peer.tracks.values()]
        assert len(receivers) == 2
        assert all(receiver.retransmitted > 0 for receiver in receivers)


async def test_an_effect_switched_on_hides_everything_at_once(
    make_pipeline: MakePipeline,
) -> None:
    """From `change` on, no picture that shows the camera leaves, whatever was in flight."""
    client = Client(camera(), keep=300)
    async with connected(client, make_pipeline, look=Look(Nothing())) as both:
        (track,) = both.peer.tracks.values()
        sent_raw: list[bool] = []
        send = track._sender.send_frame

        def watch(
            payloads: Sequence[bytes], *, timestamp: int, ntp: int, raw: bool = False
        ) -> None:
            sent_raw.append(raw and not isinstance(both.looks.all.effect, Nothing))
            send(payloads, timestamp=timestamp, ntp=ntp, raw=raw)

        track._sender.send_frame = watch  # type: ignore[method-assign]
        await client.frames(10)
        assert not any(is_green(frame) for frame in client.video.frames)
        for _ in range(5):
            both.looks.set_all(GREEN)
            await client.frames(12)
            assert all(is_green(frame) for frame in client.video.frames[-4:])
            both.looks.set_all(Look(Nothing()))
            await client.frames(12)
            assert not any(is_green(frame) for frame in client.video.frames[-4:])
        assert both.counts.raw == 0
        assert len(sent_raw) > 100
        assert not any(sent_raw)
        # A green stretch has no picture of the camera in it: one change each way per round.
        greens = [is_green(frame) for frame in client.video.frames]
        assert sum(a != b for a, b in itertools.pairwise(greens)) == 10


async def test_fewer_frames_a_second_when_the_session_says_so(make_pipeline: MakePipeline) -> None:
    client = Client(camera())
    async with connected(client, make_pipeline, max_fps=10) as both:
        await client.frames(10)
        assert both.counts.dropped["max_fps"] >= 10


async def test_the_peer_starts_dtls_where_it_may(make_pipeline: MakePipeline) -> None:
    """GStreamer as a DTLS server has no certificate that aiortc as a client would take."""
    async with connected(Client(camera()), make_pipeline) as both:
        assert "a=setup:passive" in both.answer
        await both.client.frames(2)


async def test_candidates_may_trickle(make_pipeline: MakePipeline) -> None:
    client = Client(camera())
    async with connected(client, make_pipeline) as both:
        ufrag = both.client.connection.localDescription.sdp.split("a=ice-ufrag:")[1].split("\r")[0]
        fragment = f"a=ice-ufrag:{ufrag}\r\na=mid:0\r\n{CANDIDATE}\r\na=end-of-candidates\r\n"
        await both.peer.trickle(fragment)
        with pytest.raises(UnsupportedOffer, match="ICE restart"):
            await both.peer.trickle("a=ice-ufrag:other\r\na=ice-pwd:x\r\n")
        with pytest.raises(BadOffer, match="candidate"):
            await both.peer.trickle("a=candidate:nonsense\r\n")
        with pytest.raises(BadOffer, match="more than"):
            await both.peer.trickle(f"{CANDIDATE}\r\n" * 200)
        await client.frames(3)


CANDIDATE = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"

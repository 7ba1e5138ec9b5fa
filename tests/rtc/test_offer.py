"""Offers that can't be served are refused with a reason, before they cost anything."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiortc.sdp import SessionDescription

from service.errors import BadOffer, UnsupportedOffer
from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.rtc.offer import MAX_VIDEO_TRACKS, parse_offer
from service.rtc.peer import Peer
from tests.peers import Client
from tests.rtc.counts import Counts
from tests.rtc.stand import GREEN, peer_settings
from tests.rtc.test_peer import camera

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]


def make_peer(make_pipeline: MakePipeline, executor: ThreadPoolExecutor) -> Peer:
    return Peer(
        settings=peer_settings(),
        make_pipeline=make_pipeline,
        wanted=lambda _mid: GREEN,
        audio=True,
        max_fps=30,
        executor=executor,
        counters=Counts(),
        on_state=lambda _state: None,
        on_away=lambda _mid, _away: None,
    )


def without(sdp: str, prefix: str) -> str:
    return "\r\n".join(line for line in sdp.split("\r\n") if not line.startswith(prefix))


OFFER_FAULTS: dict[str, tuple[Callable[[str], str], type[Exception]]] = {
    "empty": (lambda _sdp: "", BadOffer),
    "nonsense": (lambda _sdp: "hello\r\n", BadOffer),
    "no video": (lambda sdp: sdp.replace("m=video", "m=text"), UnsupportedOffer),
    "receive only": (lambda sdp: sdp.replace("a=sendrecv", "a=recvonly"), UnsupportedOffer),
    "no fingerprint": (lambda sdp: without(sdp, "a=fingerprint"), BadOffer),
    "no credentials": (lambda sdp: without(sdp, "a=ice-"), BadOffer),
    "no common codec": (
        lambda sdp: sdp.replace("VP8", "VP7").replace("H264", "H263"),
        UnsupportedOffer,
    ),
}


OVERSIZED = {
    "rtcp-fb": "a=rtcp-fb:* nack\r\n" * 1000,
    "rtpmap": "".join(f"a=rtpmap:{n} x/90000\r\n" for n in range(1000)),
    "ssrc": "".join(f"a=ssrc:{n} cname:x\r\n" for n in range(1000)),
    "other": "a=sendrecv\r\n" * 1000,
}


@pytest.mark.parametrize("kind", OVERSIZED)
def test_a_long_offer_is_refused_before_it_is_parsed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser takes each line for each other one."""
    monkeypatch.setattr(SessionDescription, "parse", lambda _sdp: pytest.fail("parsed"))
    with pytest.raises(BadOffer, match="more than"):
        parse_offer("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + OVERSIZED[kind])
    with pytest.raises(UnsupportedOffer, match="at most 8 media sections, got 100"):
        parse_offer("v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 100)


@pytest.mark.parametrize("fault", OFFER_FAULTS)
async def test_an_offer_that_cannot_be_served_is_refused(
    fault: str, make_pipeline: MakePipeline
) -> None:
    spoil, error = OFFER_FAULTS[fault]
    client = Client(camera())
    with ThreadPoolExecutor(1) as executor:
        peer = make_peer(make_pipeline, executor)
        try:
            with pytest.raises(error):
                await peer.answer(spoil(await client.offer()))
        finally:
            await peer.abandon()
            await client.close()


async def test_too_many_cameras_are_refused(make_pipeline: MakePipeline) -> None:
    client = Client(*[camera() for _ in range(MAX_VIDEO_TRACKS + 1)])
    with ThreadPoolExecutor(1) as executor:
        peer = make_peer(make_pipeline, executor)
        try:
            with pytest.raises(UnsupportedOffer, match="at most 4 video sections, got 5"):
                await peer.answer(await client.offer())
        finally:
            await peer.abandon()
            await client.close()

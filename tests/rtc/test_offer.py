"""Offers that can't be served are refused with a reason, before they cost anything."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from aiortc import RTCSessionDescription
from aiortc.sdp import SessionDescription

from service.errors import BadOffer, UnsupportedOffer
from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.rtc.link import Link
from service.rtc.offer import MAX_VIDEO_TRACKS, Use, parse_answer, parse_offer
from service.rtc.peer import Peer
from service.workers import Workers
from tests.peers import Client
from tests.rtc.counts import Counts
from tests.rtc.stand import GREEN, peer_settings
from tests.rtc.test_peer import camera

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]


def make_peer(make_pipeline: MakePipeline, workers: Workers) -> Peer:
    return Peer(
        settings=peer_settings(),
        make_pipeline=make_pipeline,
        wanted=lambda _mid: GREEN,
        audio=True,
        max_fps=30,
        workers=workers,
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
    with Workers(lambda: 1.0, cpus=1) as workers:
        peer = make_peer(make_pipeline, workers)
        try:
            with pytest.raises(error):
                await peer.answer(spoil(await client.offer()))
        finally:
            await peer.abandon()
            await client.close()


async def test_too_many_cameras_are_refused(make_pipeline: MakePipeline) -> None:
    client = Client(*[camera() for _ in range(MAX_VIDEO_TRACKS + 1)])
    with Workers(lambda: 1.0, cpus=1) as workers:
        peer = make_peer(make_pipeline, workers)
        try:
            with pytest.raises(UnsupportedOffer, match="at most 4 video sections, got 5"):
                await peer.answer(await client.offer())
        finally:
            await peer.abandon()
            await client.close()


# Answers to offers of our own.


async def asked_and_answered(use: Use, *, audio: bool = True) -> tuple[str, str]:
    """An offer of ours, and what a stock peer answers."""
    link = Link(
        settings=peer_settings(),
        use=use,
        counters=Counts(),
        on_state=lambda _: None,
        on_channel=lambda _: None,
    )
    stock = Client()
    try:
        offer = await link.offer(lambda _: None, audio=audio)
        await stock.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if use is Use.PULL:
            for transceiver in stock.connection.getTransceivers():
                transceiver.direction = "sendonly"
        await stock.connection.setLocalDescription(await stock.connection.createAnswer())
        return offer, str(stock.connection.localDescription.sdp)
    finally:
        await stock.close()
        await link.disconnect(lambda: None)


@pytest.mark.parametrize(("use", "direction"), [(Use.PULL, "recvonly"), (Use.PUSH, "sendonly")])
async def test_an_offer_of_ours_and_its_answer(use: Use, direction: str) -> None:
    offer, answer = await asked_and_answered(use)
    sections = SessionDescription.parse(offer).media
    assert [(one.kind, one.direction) for one in sections] == [
        ("video", direction),
        ("audio", direction),
    ]
    assert "a=candidate:" in offer
    assert "m=application" not in offer
    assert parse_answer(answer, offer, use).media[0].direction == use.answered
    offer, answer = await asked_and_answered(use, audio=False)
    assert [one.kind for one in parse_answer(answer, offer, use).media] == ["video"]


ANSWER_FAULTS: dict[str, tuple[Callable[[str], str], type[Exception]]] = {
    "empty": (lambda _: "", UnsupportedOffer),
    "nonsense": (lambda _: "v=0\r\nm=video\r\n", BadOffer),
    "too long": (lambda sdp: sdp + "a=rtcp-fb:* nack\r\n" * 1000, BadOffer),
    "a section less": (lambda sdp: sdp.partition("m=audio")[0], UnsupportedOffer),
    "other names": (lambda sdp: sdp.replace("a=mid:0", "a=mid:7"), UnsupportedOffer),
    "another direction": (lambda sdp: sdp.replace("a=sendonly", "a=sendrecv"), UnsupportedOffer),
    "nothing": (lambda sdp: sdp.replace("a=sendonly", "a=inactive"), UnsupportedOffer),
    "video refused": (lambda sdp: re.sub(r"m=video \d+", "m=video 0", sdp), UnsupportedOffer),
    "no bundle": (lambda sdp: without(sdp, "a=group"), UnsupportedOffer),
    "no fingerprint": (lambda sdp: without(sdp, "a=fingerprint"), BadOffer),
    "no credentials": (lambda sdp: without(sdp, "a=ice-"), BadOffer),
    "no role": (lambda sdp: sdp.replace("a=setup:active", "a=setup:actpass"), BadOffer),
}


@pytest.mark.parametrize("fault", ANSWER_FAULTS)
async def test_answers_that_do_not_fit(fault: str) -> None:
    spoil, error = ANSWER_FAULTS[fault]
    offer, answer = await asked_and_answered(Use.PULL)
    with pytest.raises(error):
        parse_answer(spoil(answer), offer, Use.PULL)


async def test_an_answer_of_other_codecs() -> None:
    link = Link(
        settings=peer_settings(),
        use=Use.PUSH,
        counters=Counts(),
        on_state=lambda _: None,
        on_channel=lambda _: None,
    )
    stock = Client()
    await stock.connection.setRemoteDescription(
        RTCSessionDescription(await link.offer(lambda _: None, audio=False), "offer")
    )
    await stock.connection.setLocalDescription(await stock.connection.createAnswer())
    answer = stock.connection.localDescription.sdp
    with pytest.raises(UnsupportedOffer, match="codec"):
        await link.accept(answer.replace("VP8", "VP7").replace("H264", "H263"))
    with pytest.raises(BadOffer, match="can't be used"):
        await link.accept(without(answer, "a=rtcp-mux"))
    await stock.close()
    await link.disconnect(lambda: None)

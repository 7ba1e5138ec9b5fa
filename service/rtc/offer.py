"""SDP of others, bounded, parsed and judged before aiortc sees it: an offer that this service can
answer, or the answer to an offer of its own.

link.py asks. The HTTP layer has bounded the bytes (service/web/bodies.py, service/web/sfu.py).
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from aiortc.sdp import SessionDescription

from service.errors import BadOffer, UnsupportedOffer

if TYPE_CHECKING:
    from aiortc.sdp import MediaDescription

MAX_VIDEO_TRACKS = 4
MAX_WATCHED_TRACKS = 1
"""A viewer is shown the session's first camera."""
MAX_MEDIA_SECTIONS = 8
DATA_PROFILES = ("UDP/DTLS/SCTP", "DTLS/SCTP")
"""RFC 8841; the second is what its drafts had."""
MAX_LINES_OF_A_KIND = {"rtpmap": 64, "rtcp-fb": 256, "fmtp": 64, "ssrc": 32, "candidate": 64}
MAX_OTHER_LINES_OF_A_KIND = 32
"""Lines of one kind in a media section; Chromium's longest has 40 rtpmap and 120 rtcp-fb."""


class Use(Enum):
    """What a connection is for: the value says which directions its video may be offered in, and
    which one it is answered with. What may be offered beyond the first is answered by the last all
    the same. PULL and PUSH are offered by this service."""

    RETURNED = (("sendrecv",), "sendrecv", "sendrecv: it is processed and sent back")
    INGEST = (("sendonly", "sendrecv"), "recvonly", "sendonly, or sendrecv (RFC 9725 4.2)")
    PLAYBACK = (("recvonly", "sendrecv"), "sendonly", "recvonly, or sendrecv (WHEP 4.2)")
    PULL = (("recvonly",), "sendonly", "recvonly: it comes from another server")
    PUSH = (("sendonly",), "recvonly", "sendonly: it goes to another server")

    def __init__(self, offered: tuple[str, ...], answered: str, words: str) -> None:
        self.offered = offered
        self.answered = answered
        self.words = words


def parse_offer(offer: str, use: Use = Use.RETURNED) -> SessionDescription:
    """A parsed offer that this service can answer.

    Raises BadOffer when it is no SDP, UnsupportedOffer when it asks for something else.
    """
    _require_bounded(offer)
    try:
        description = SessionDescription.parse(offer)
    except Exception as exc:  # aiortc's parser raises whatever the line led to
        raise BadOffer("the body is no SDP session description") from exc
    media = description.media
    if not media:
        raise BadOffer("the body has no media section")
    video = [section for section in media if section.kind == "video"]
    if not video:
        raise UnsupportedOffer("the offer has no video section")
    most = MAX_WATCHED_TRACKS if use is Use.PLAYBACK else MAX_VIDEO_TRACKS
    if len(video) > most:
        raise UnsupportedOffer(f"at most {most} video sections, got {len(video)}")
    if any(section.direction not in use.offered for section in video):
        raise UnsupportedOffer(f"video must be offered {use.words}")
    if any(section.kind not in ("audio", "video", "application") for section in media):
        raise UnsupportedOffer("only audio, video and one data section are served")
    _require_one_data_section([section for section in media if section.kind == "application"])
    if len(media) > 1 and not _bundled(media, description):
        raise UnsupportedOffer("all media sections must be in one BUNDLE group (RFC 8843)")
    for section in media:
        _require_transport(section)
    return description


def parse_answer(answer: str, offer: str, use: Use) -> SessionDescription:
    """The answer to an offer of ours, of one video section and perhaps one of audio after it.

    A section of audio that is not taken (RFC 8829 5.3.1: its port is 0, and it need not name a
    codec or a transport) becomes one that is inactive, which is the same and what aiortc can read.
    Raises BadOffer when it is no SDP, UnsupportedOffer when it does not answer that offer.
    """
    _require_bounded(answer)
    try:
        description = SessionDescription.parse(answer)
        offered = SessionDescription.parse(offer).media
    except Exception as exc:  # as above
        raise BadOffer("the answer is no SDP session description") from exc
    media = description.media
    if [(one.kind, one.rtp.muxId) for one in media] != [(o.kind, o.rtp.muxId) for o in offered]:
        raise UnsupportedOffer("the answer's media sections are not those of the offer")
    if media[0].port == 0 or media[0].direction != use.answered:
        raise UnsupportedOffer(f"video must be answered {use.answered}, and not refused")
    refused = [place for place, section in enumerate(media) if section.port == 0]
    taken = [section for section in media if section.port != 0]
    if len(taken) > 1 and not _bundled(taken, description):
        raise UnsupportedOffer("all media sections must be in one BUNDLE group (RFC 8843)")
    for section in taken:
        _require_transport(section)
        if section.dtls is None or section.dtls.role not in ("client", "server"):
            raise BadOffer("a media section of the answer has no a=setup:active or passive")
    for place in refused:
        _make_inactive(media[place], offered[place], media[0])
    bundle = [group for group in description.group if group.semantic == "BUNDLE"]
    for group in bundle[:1]:
        group.items[:] = [section.rtp.muxId for section in media]
    return description


def _make_inactive(
    section: MediaDescription, offered: MediaDescription, carrier: MediaDescription
) -> None:
    section.port, section.direction = carrier.port, "inactive"
    section.profile, section.fmt, section.rtp.codecs = (
        offered.profile,
        offered.fmt,
        offered.rtp.codecs,
    )
    section.rtcp_host, section.rtcp_port = offered.rtcp_host, offered.rtcp_port
    section.rtcp_mux = True
    section.ice, section.dtls = carrier.ice, carrier.dtls
    section.ice_candidates = []


def _require_transport(section: MediaDescription) -> None:
    if section.dtls is None or not section.dtls.fingerprints:
        raise BadOffer("a media section has no DTLS fingerprint")
    ice = section.ice
    if ice is None or not ice.usernameFragment or not ice.password:
        raise BadOffer("a media section has no ICE user name fragment or password")


def _require_one_data_section(sections: list[MediaDescription]) -> None:
    """The section of the data channel (channel.py), if there is one."""
    if len(sections) > 1:
        raise UnsupportedOffer("at most 1 data section (m=application)")
    for section in sections:
        legacy = section.profile == "DTLS/SCTP"
        named = str(section.fmt[0]).isdigit() if legacy and section.fmt else section.sctp_port
        if section.profile not in DATA_PROFILES or not named:
            raise UnsupportedOffer("data must be offered as UDP/DTLS/SCTP with its a=sctp-port")


def _bundled(media: list[MediaDescription], description: SessionDescription) -> bool:
    mids = {section.rtp.muxId for section in media}
    return any(
        group.semantic == "BUNDLE" and mids <= set(map(str, group.items))
        for group in description.group
    )


def _require_bounded(offer: str) -> None:
    """aiortc's parser takes each a=rtcp-fb:* for each a=rtpmap, and each a=ssrc for all others:
    some ten thousand lines would hold the event loop for a minute."""
    counts: Counter[str] = Counter()
    for line in offer.splitlines():
        kind = line[:2] if not line.startswith("a=") else line[2:].split(":", 1)[0]
        if kind == "m=":
            counts.clear()
            continue
        counts[kind] += 1
        limit = MAX_LINES_OF_A_KIND.get(kind, MAX_OTHER_LINES_OF_A_KIND)
        if counts[kind] > limit:
            raise BadOffer(f"more than {limit} lines of one kind in a media section")
    sections = len(re.findall(r"^m=", offer, re.MULTILINE))
    if sections > MAX_MEDIA_SECTIONS:
        raise UnsupportedOffer(f"at most {MAX_MEDIA_SECTIONS} media sections, got {sections}")

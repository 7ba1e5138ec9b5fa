"""A transport that only remembers what was sent, for receivers and senders on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import AnyRtcpPacket, HeaderExtensionsMap, RtcpPacket, RtpPacket, is_rtcp

if TYPE_CHECKING:
    from service.rtc.transport import DtlsTransport

VP8 = RTCRtpCodecParameters("video/VP8", 90000, payloadType=97)
VP8_RTX = RTCRtpCodecParameters("video/rtx", 90000, payloadType=98, parameters={"apt": 97})
OPUS = RTCRtpCodecParameters("audio/opus", 48000, channels=2, payloadType=96)


class Wire:
    """Duck-typed DtlsTransport."""

    def __init__(self) -> None:
        self.state = "connected"
        self.sent: list[bytes] = []
        self.broken = False

    def send_packet(self, plain: bytes) -> bool:
        if not self.broken:
            self.sent.append(plain)
        return not self.broken

    def send_control(self, plain: bytes) -> bool:
        return self.send_packet(plain)

    def _register_rtp_receiver(self, receiver: object, parameters: object) -> None: ...
    def _register_rtp_sender(self, sender: object, parameters: object) -> None: ...
    def _unregister_rtp_receiver(self, receiver: object) -> None: ...
    def _unregister_rtp_sender(self, sender: object) -> None: ...

    def as_transport(self) -> DtlsTransport:
        return cast("DtlsTransport", self)

    def rtp(self, negotiated: RTCRtpSendParameters | None = None) -> list[RtpPacket]:
        extensions = HeaderExtensionsMap()
        if negotiated is not None:
            extensions.configure(negotiated)
        return [RtpPacket.parse(d, extensions) for d in self.sent if not is_rtcp(d)]

    def rtcp(self) -> list[AnyRtcpPacket]:
        return [packet for d in self.sent if is_rtcp(d) for packet in RtcpPacket.parse(d)]

    def feedback(self, fmt: int, kind: type[Any]) -> list[Any]:
        return [p for p in self.rtcp() if isinstance(p, kind) and p.fmt == fmt]


def receive_parameters(*codecs: RTCRtpCodecParameters) -> RTCRtpReceiveParameters:
    return RTCRtpReceiveParameters(
        codecs=list(codecs),
        encodings=[RTCRtpDecodingParameters(ssrc=1000, payloadType=codecs[0].payloadType or 0)],
    )


def send_parameters(*codecs: RTCRtpCodecParameters) -> RTCRtpSendParameters:
    parameters = RTCRtpSendParameters(codecs=list(codecs), muxId="0")
    parameters.rtcp.cname = "test"
    return parameters

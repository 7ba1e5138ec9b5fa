"""aiortc's peer connection with this package's parts inside.

aiortc builds its senders, receivers and transports in a few private methods. Overriding those on a
subclass puts receiver.py, sender.py and ice.py in their places for this service's peers alone: no
module of aiortc is changed, and a stock peer in the same process stays stock.
tests/rtc/test_connection.py fails when a release of aiortc renames one of these methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
)
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpReceiver, RtpRouter
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport, connection_kwargs

from service.rtc.codecs import Codec
from service.rtc.ice import IceConnection, IceSettings
from service.rtc.receiver import AudioReceiver, Bandwidth, RtpCounters, VideoReceiver
from service.rtc.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.rtp import RtpPacket

MAX_SSRCS = 64
"""Streams that one peer may name; aiortc keeps every one it ever saw in a table."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What every peer of this process shares."""

    ice: IceSettings
    ice_servers: tuple[RTCIceServer, ...] = ()
    "Empty asks nobody: aiortc's own default is a public STUN server."
    codecs: tuple[Codec, ...] = (Codec.H264, Codec.VP8)
    "Allowed video codecs, preferred first."


class BoundedRouter(RtpRouter):
    """Routes packets to receivers, and stops learning SSRCs at a bound."""

    def route_rtp(self, packet: RtpPacket) -> RtpReceiver | None:
        if packet.ssrc not in self.ssrc_table:
            if len(self.ssrc_table) >= MAX_SSRCS:
                return None
            # The media section's name says whose it is (RFC 8843 9.2); aiortc does not ask it,
            # and two cameras share their payload types.
            named = self.mid_table.get(packet.extensions.mid or "")
            if named is not None:
                self.ssrc_table[packet.ssrc] = named
        return super().route_rtp(packet)


class DtlsTransport(RTCDtlsTransport):
    """Tells of every packet that SRTP has authenticated."""

    def __init__(
        self, transport: RTCIceTransport, certificates: list[Any], alive: Callable[[], None]
    ) -> None:
        super().__init__(transport, certificates)
        self._alive = alive
        self._rtp_router = BoundedRouter()

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._alive()
        await super()._handle_rtp_data(data, arrival_time_ms=arrival_time_ms)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._alive()
        await super()._handle_rtcp_data(data)


class Gatherer(RTCIceGatherer):
    """Gathers candidates with this service's ICE agent."""

    def __init__(self, settings: ConnectionSettings, alive: Callable[[], None]) -> None:
        super().__init__(iceServers=[])
        self._connection = IceConnection(
            ice=settings.ice,
            alive=alive,
            ice_controlling=False,
            **connection_kwargs(list(settings.ice_servers)),
        )


class Connection(RTCPeerConnection):
    """A peer connection whose video and audio are pushed through by track.py and audio.py."""

    def __init__(
        self, settings: ConnectionSettings, counters: RtpCounters, alive: Callable[[], None]
    ) -> None:
        super().__init__(
            RTCConfiguration(
                iceServers=list(settings.ice_servers), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
            )
        )
        self._settings = settings
        self._counters = counters
        self._alive = alive
        self._bandwidth = Bandwidth()

    def be_dtls_server(self) -> None:
        """Wait for the peer's DTLS hello where its offer leaves the choice.

        aiortc as a client offers ECDHE-ECDSA alone, which GStreamer's server has not.
        """
        for transceiver in self.getTransceivers():
            transceiver.receiver.transport._set_role("server")

    # The two overrides below are called by aiortc under these (mangled) names.

    def _RTCPeerConnection__createTransceiver(
        self, direction: str, kind: str, sender_track: None = None
    ) -> RTCRtpTransceiver:
        transceivers = self.getTransceivers()
        # One bundle, one transport: offer.py lets nothing else through.
        if transceivers:
            transport = transceivers[0].receiver.transport
        else:
            transport = self._RTCPeerConnection__createDtlsTransport()
        receiver: RTCRtpReceiver = (
            VideoReceiver(transport, self._counters, self._bandwidth)
            if kind == "video"
            else AudioReceiver(transport, self._counters)
        )
        sender = Sender(kind, transport, self._counters)
        transceiver = RTCRtpTransceiver(
            # What comes in goes out again; a receive-only offer is answered accordingly.
            direction="sendrecv",
            kind=kind,
            sender=sender,
            receiver=receiver,
        )
        receiver._set_rtcp_ssrc(sender._ssrc)
        sender._stream_id = self._stream_id
        transceiver._bundled = bool(transceivers)
        if kind == "video":
            transceiver.setCodecPreferences(self._preferences())
        self._transceivers.append(transceiver)
        return transceiver

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:
        gatherer = Gatherer(self._settings, self._alive)
        ice = RTCIceTransport(gatherer)
        dtls = DtlsTransport(ice, self._private("certificates"), self._alive)
        gatherer.on("statechange", self._private("updateIceGatheringState"))
        for source in (ice, dtls):
            source.on("statechange", self._private("updateConnectionState"))
        ice.on("statechange", self._private("updateIceConnectionState"))
        self._private("iceTransports").add(ice)
        self._private("dtlsTransports").add(dtls)
        self._private("updateIceGatheringState")()
        self._private("updateIceConnectionState")()
        self._private("updateConnectionState")()
        return dtls

    @property
    def _transceivers(self) -> list[RTCRtpTransceiver]:
        transceivers: list[RTCRtpTransceiver] = self._private("transceivers")
        return transceivers

    @property
    def _stream_id(self) -> str:
        return str(self._private("stream_id"))

    def _private(self, name: str) -> Any:  # noqa: ANN401 (each has a type of its own)
        return getattr(self, f"_RTCPeerConnection__{name}")

    def _preferences(self) -> list[Any]:
        """The allowed codecs in order, then retransmission."""
        capabilities = RTCRtpReceiver.getCapabilities("video")
        known = [] if capabilities is None else capabilities.codecs
        ordered = [
            capability
            for codec in self._settings.codecs
            for capability in known
            if capability.mimeType.lower() == f"video/{codec.value.lower()}"
        ]
        return ordered + [c for c in known if c.mimeType.lower() == "video/rtx"]

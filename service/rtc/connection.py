"""aiortc's peer connection with this package's parts inside.

aiortc builds its senders, receivers and transports in a few private methods. Overriding those on a
subclass puts receiver.py, sender.py, transport.py and ice.py in their places for this service's
peers alone: no module of aiortc is changed, and a stock peer in the same process stays stock.
tests/rtc/test_connection.py fails when a release of aiortc renames one of these methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aioice.ice import TransportPolicy
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
)
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport, connection_kwargs

from service.rtc.bandwidth import Bandwidth
from service.rtc.codecs import Codec
from service.rtc.ice import IceConnection, IceSettings
from service.rtc.receiver import AudioReceiver, RtpCounters, VideoReceiver
from service.rtc.sctp import SctpTransport
from service.rtc.sender import Sender
from service.rtc.transport import DtlsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.setting_text import IceServer


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What every peer of this process shares."""

    ice: IceSettings
    ice_servers: Callable[[], Sequence[RTCIceServer]] = tuple
    "Asked for each peer: credentials expire. Nobody is asked by default, as aiortc would do."
    codecs: tuple[Codec, ...] = (Codec.H264, Codec.VP8)
    "Allowed video codecs, preferred first."


class Gatherer(RTCIceGatherer):
    """Gathers candidates with this service's ICE agent."""

    def __init__(
        self,
        settings: ConnectionSettings,
        alive: Callable[[], None],
        also_asked: Sequence[RTCIceServer] = (),
    ) -> None:
        """`also_asked` come after those of the settings, of which one of a kind is enough."""
        super().__init__(iceServers=[])
        self._connection = IceConnection(
            ice=settings.ice,
            alive=alive,
            ice_controlling=False,
            transport_policy=(
                TransportPolicy.RELAY if settings.ice.relay_only else TransportPolicy.ALL
            ),
            **connection_kwargs([*settings.ice_servers(), *also_asked]),
        )


class Connection(RTCPeerConnection):
    """A peer connection whose video and audio are pushed through by track.py and audio.py."""

    def __init__(
        self,
        settings: ConnectionSettings,
        counters: RtpCounters,
        alive: Callable[[], None],
        signs: Callable[[], None] | None = None,
    ) -> None:
        """`alive` is called for every authenticated packet; where `signs` is given, that is for
        those that are no media, RTCP and ICE."""
        super().__init__(
            # Gatherer has the servers.
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._settings = settings
        self._counters = counters
        self._alive = alive
        self._signs = signs or alive
        self._bandwidth = Bandwidth()
        self._also_asked: Sequence[RTCIceServer] = ()

    def ask_also(self, servers: Sequence[IceServer]) -> None:
        """STUN and TURN servers for this connection alone; it has no media section yet."""
        self._also_asked = [
            RTCIceServer(list(one.urls), one.username, one.credential) for one in servers
        ]

    def be_dtls_server(self) -> None:
        """Wait for the peer's DTLS hello where its offer leaves the choice.

        aiortc as a client offers ECDHE-ECDSA alone, which GStreamer's server has not.
        """
        for transceiver in self.getTransceivers():
            transceiver.receiver.transport._set_role("server")

    # The three overrides below are called by aiortc under these (mangled) names.

    def _RTCPeerConnection__createTransceiver(
        self, direction: str, kind: str, sender_track: None = None
    ) -> RTCRtpTransceiver:
        shared = self._transport
        transport = self._RTCPeerConnection__createDtlsTransport() if shared is None else shared
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
        transceiver._bundled = shared is not None
        if kind == "video":
            transceiver.setCodecPreferences(self._preferences())
        self._transceivers.append(transceiver)
        return transceiver

    def _RTCPeerConnection__createSctpTransport(self) -> None:
        shared = self._transport
        sctp = SctpTransport(shared or self._RTCPeerConnection__createDtlsTransport())
        sctp._bundled = shared is not None
        self._RTCPeerConnection__sctp = sctp
        sctp.on("datachannel", lambda channel: self.emit("datachannel", channel))

    def _RTCPeerConnection__createDtlsTransport(self) -> DtlsTransport:
        gatherer = Gatherer(self._settings, self._signs, self._also_asked)
        ice = RTCIceTransport(gatherer)
        dtls = DtlsTransport(ice, self._private("certificates"), self._alive, self._signs)
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
    def _transport(self) -> DtlsTransport | None:
        """One bundle, one transport: offer.py lets nothing else through."""
        transceivers, sctp = self.getTransceivers(), self.sctp
        if transceivers:
            return cast("DtlsTransport", transceivers[0].receiver.transport)
        return None if sctp is None else cast("DtlsTransport", sctp.transport)

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

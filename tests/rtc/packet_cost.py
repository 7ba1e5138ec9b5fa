"""What a video packet costs the event loop's thread, in and out: `python -m tests.rtc.packet_cost`.

In: SRTP datagrams of a recorded stream from the socket's callback to `on_frame`. Out: `send_frame`
to the socket, the system call with it. Once in a tight loop, and once with a pause before each
picture: then caches are cold, as they are on a server with one stream.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import uvloop
from aiortc.rtcdtlstransport import State
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket
from pylibsrtp import Policy, Session

from service.metrics import Metrics
from service.rtc.connection import Connection, ConnectionSettings
from service.rtc.ice import IceSettings
from service.rtc.packet import ABS_SEND_TIME_URI, MID_URI
from tests.rtc.wire import receive_parameters, send_parameters

if TYPE_CHECKING:
    from aiortc.rtcrtpparameters import RTCRtpParameters

PICTURES = 6000
PAUSED_PICTURES = 300
PAUSE_S = 1 / 30
PAYLOAD_BYTES = 902
H264 = RTCRtpCodecParameters("video/H264", 90000, payloadType=97)


def session(key: int, kind: int) -> Session:
    profile = Policy.SRTP_PROFILE_AEAD_AES_256_GCM
    return Session(Policy(key=bytes([key]) * 44, ssrc_type=kind, srtp_profile=profile))


def stream(pictures_wanted: int, packets: int, negotiated: RTCRtpParameters) -> list[list[bytes]]:
    """The datagrams of each picture; the first is a keyframe."""
    protect, ids = session(1, Policy.SSRC_ANY_OUTBOUND), HeaderExtensionsMap()
    ids.configure(negotiated)
    pictures: list[list[bytes]] = [[] for _ in range(pictures_wanted)]
    for n in range(pictures_wanted * packets):
        picture, index = divmod(n, packets)
        fragment = (0x80 if index == 0 else 0) | (5 if picture == 0 else 1)
        payload = bytes([0x7C, fragment]) + os.urandom(PAYLOAD_BYTES - 2)
        last = int(index == packets - 1)
        packet = RtpPacket(97, last, n % (1 << 16), picture * 3000, 1000, payload)
        packet.extensions.mid = "0"
        packet.extensions.abs_send_time = picture * (1 << 18) // 30 % (1 << 24)
        pictures[picture].append(protect.protect(packet.serialize(ids)))
    return pictures


async def measure(packets: int, pictures: int, pause_s: float) -> tuple[float, float]:
    """Microseconds of the thread for each picture of so many packets: in, out."""
    settings = ConnectionSettings(ice=IceSettings(addresses=("127.0.0.1",)))
    connection = Connection(settings, Metrics(process_metrics=False), alive=lambda: None)
    transceiver = connection.addTransceiver("video")
    receiver: Any = transceiver.receiver
    sender: Any = transceiver.sender
    transport = receiver.transport
    ice = transport.transport._connection
    await ice.get_component_candidates(1, ["127.0.0.1"])
    (protocol,) = ice._protocols
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    peer = sink.getsockname()
    ice._nominated = {1: SimpleNamespace(protocol=protocol, remote_addr=peer)}
    extensions = [
        RTCRtpHeaderExtensionParameters(1, MID_URI),
        RTCRtpHeaderExtensionParameters(3, ABS_SEND_TIME_URI),
    ]
    incoming, outgoing = receive_parameters(H264), send_parameters(H264)
    incoming.headerExtensions = outgoing.headerExtensions = extensions
    frames: list[object] = []
    receiver.on_frame = frames.append
    await receiver.receive(incoming)
    await sender.send(outgoing)
    transport._rx_srtp = session(1, Policy.SSRC_ANY_INBOUND)
    transport._tx_srtp = session(2, Policy.SSRC_ANY_OUTBOUND)
    ice.on_srtp = transport._srtp_received
    transport._set_state(State.CONNECTED)
    in_ns = out_ns = 0
    payloads = [os.urandom(PAYLOAD_BYTES)] * packets
    for number, datagrams in enumerate(stream(pictures, packets, incoming)):
        if pause_s:
            time.sleep(pause_s)  # noqa: ASYNC251 (nothing else is to run meanwhile)
        began_ns = time.thread_time_ns()
        for datagram in datagrams:
            protocol.datagram_received(datagram, peer)
        received_ns = time.thread_time_ns()
        sender.send_frame(payloads, timestamp=number * 3000, ntp=0)
        in_ns += received_ns - began_ns
        out_ns += time.thread_time_ns() - received_ns
    assert len(frames) == pictures
    await connection.close()
    sink.close()
    return in_ns / pictures / 1e3, out_ns / pictures / 1e3


if __name__ == "__main__":
    for count in (1, 4, 10):
        for pictures, pause_s in ((PICTURES, 0.0), (PAUSED_PICTURES, PAUSE_S)):
            in_us, out_us = uvloop.run(measure(count, pictures, pause_s))
            when = "after a pause" if pause_s else "in a tight loop"
            sys.stdout.write(
                f"{count:3} packets a picture, {when}: "
                f"in {in_us:6.1f} us a picture, {in_us / count:5.1f} a packet; "
                f"out {out_us:6.1f} us, {out_us / count:5.1f}\n"
            )

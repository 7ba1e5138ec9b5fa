"""Encoders and decoders of one track: H264 and VP8, one thread each, built for the lowest delay.

track.py owns one `Decoder` and one `Encoder`, and calls both from its worker. aiortc's own (made
for general use: x264 `medium`, libvpx with a thread count from the host's cores) cost up to seven
times as much CPU; docs/performance.md has the figures. Its packetisers are reused.
"""

from __future__ import annotations

import fractions
import random
from enum import Enum

import av
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

VIDEO_CLOCK_HZ = 90_000
TIME_BASE = fractions.Fraction(1, VIDEO_CLOCK_HZ)
NOMINAL_FPS = 30
PACKET_LIMIT_BYTES = 1300
"""What aiortc's packetisers put into one packet at most."""
MAX_DECODED_PIXELS = 1920 * 1920
"""Larger pictures are refused: 1080p in both orientations fits, a hostile 8K stream does not."""
KEYFRAME_INTERVAL_FRAMES = 3000
"""Keyframes are made when somebody asks for one, not by the clock."""
X264_PRESET = "superfast"
VP8_CPU_USED_SMALL = -14
VP8_CPU_USED_LARGE = -16
VP8_LARGE_PIXELS = 1280 * 720 + 1
"""From here on libvpx gets its fastest realtime setting; up to 720p -14 keeps 6 dB more."""

VP8_START_CODE = b"\x9d\x01\x2a"
VP8_KEY_HEADER_BYTES = 10
H264_IDR_SLICE = 5
H264_SPS = 7
H264_FIRST_NON_SLICE = 6
H264_FIRST_AGGREGATE = 24
H264_FU_A = 28
H264_FU_START = 0x80
H264_FU_HEADER_BYTES = 2
H264_START_CODE = b"\x00\x00\x00\x01"


class Codec(Enum):
    """A video codec this service encodes and decodes; the value is the SDP name."""

    H264 = "H264"
    VP8 = "VP8"


def h264_is_keyframe(data: bytes) -> bool:
    """Whether Annex B data holds an SPS or an IDR slice before any other slice (H.264 7.4.1)."""
    start = data.find(b"\x00\x00\x01")
    while start != -1 and start + 3 < len(data):
        kind = data[start + 3] & 0x1F
        if kind in (H264_IDR_SLICE, H264_SPS):
            return True
        if kind < H264_FIRST_NON_SLICE:
            return False
        start = data.find(b"\x00\x00\x01", start + 3)
    return False


def vp8_is_keyframe(data: bytes) -> bool:
    """The frame tag's inverse key frame bit and the start code behind it (RFC 6386 9.1).

    The bit alone would take half of all bytes for a keyframe: a frame whose start is lost begins
    with any byte.
    """
    return len(data) >= VP8_KEY_HEADER_BYTES and not data[0] & 1 and data[3:6] == VP8_START_CODE


def is_keyframe(codec: Codec, data: bytes) -> bool:
    return h264_is_keyframe(data) if codec is Codec.H264 else vp8_is_keyframe(data)


def depayload(codec: Codec, payload: bytes) -> bytes:
    """An RTP payload without its descriptor; ValueError when it is malformed."""
    if codec is Codec.VP8:
        return vp8_depayload(payload)
    # The two kinds that most packets are; aiortc reads them the same in four times as long.
    if len(payload) >= H264_FU_HEADER_BYTES:
        kind, fragment = payload[0] & 0x1F, payload[1]
        if kind == H264_FU_A:
            rest = payload[H264_FU_HEADER_BYTES:]
            if not fragment & H264_FU_START:
                return rest
            return H264_START_CODE + bytes([payload[0] & 0xE0 | fragment & 0x1F]) + rest
        if 0 < kind < H264_FIRST_AGGREGATE:
            return H264_START_CODE + payload
    return h264_depayload(payload)


class Decoder:
    """Frames of one stream in order -> pictures. The pictures are read only: the decoder
    predicts the next frames from the same memory."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._context = self._open()

    def _open(self) -> VideoCodecContext:
        # FFmpeg's own VP8 decoder is a little faster than libvpx and as exact.
        context = av.CodecContext.create("h264" if self._codec is Codec.H264 else "vp8", "r")
        assert isinstance(context, VideoCodecContext)
        # More threads would add a frame of delay each.
        context.thread_count = 1
        context.options = {"flags": "+low_delay", "max_pixels": str(MAX_DECODED_PIXELS)}
        return context

    def decode(self, data: bytes, pts: int) -> list[av.VideoFrame]:
        """Pictures that came out, usually one; av.FFmpegError on data that can't be decoded."""
        packet = av.Packet(data)
        packet.pts = pts
        packet.time_base = TIME_BASE
        return self._context.decode(packet)


class Encoder:
    """Pictures -> RTP payloads. Rebuilt when size, bitrate or colour description change."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._context: VideoCodecContext | None = None
        self._settings: tuple[object, ...] = ()
        self._picture_id = random.randrange(1 << 15)  # noqa: S311 (not a secret, RFC 7741 4.2)
        self._last_pts = -1

    def encode(self, frame: av.VideoFrame, *, keyframe: bool, bitrate_bps: int) -> list[bytes]:
        """One yuv420p picture of even size; av.FFmpegError when the encoder fails.

        The next call after an error starts with a fresh encoder and a keyframe.
        """
        settings = (frame.width, frame.height, bitrate_bps, frame.color_range, frame.colorspace)
        if self._context is None or settings != self._settings:
            self._context = self._open(frame, bitrate_bps)
            self._settings = settings
        # Whatever the decoder left there (it copies its own picture type) must not be obeyed.
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        frame.pts = self._increasing(frame.pts)
        frame.time_base = TIME_BASE
        try:
            data = b"".join(bytes(packet) for packet in self._context.encode(frame))
        except Exception:
            self._context = None
            raise
        return self._packetise(data) if data else []

    def _increasing(self, pts: int | None) -> int:
        """Encoders refuse a timestamp that repeats or goes back."""
        self._last_pts = max(self._last_pts + 1, pts or 0)
        return self._last_pts

    def _open(self, frame: av.VideoFrame, bitrate_bps: int) -> VideoCodecContext:
        name = "libx264" if self._codec is Codec.H264 else "libvpx"
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuv420p"
        context.bit_rate = bitrate_bps
        context.time_base = TIME_BASE
        context.framerate = fractions.Fraction(NOMINAL_FPS, 1)
        context.gop_size = KEYFRAME_INTERVAL_FRAMES
        context.thread_count = 1
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        if self._codec is Codec.H264:
            context.profile = "Baseline"
            context.options = h264_options(bitrate_bps)
        else:
            context.qmin, context.qmax = 2, 56
            context.options = _vp8_options(bitrate_bps, frame.width * frame.height)
        return context

    def _packetise(self, data: bytes) -> list[bytes]:
        if self._codec is Codec.H264:
            return H264Encoder._packetize(H264Encoder._split_bitstream(data))
        payloads = Vp8Encoder._packetize(data, self._picture_id)
        self._picture_id = (self._picture_id + 1) % (1 << 15)
        return payloads


def h264_options(bitrate_bps: int) -> dict[str, str]:
    """What x264 is told, in FFmpeg's words."""
    return {
        "preset": X264_PRESET,
        "tune": "zerolatency",
        # Bits moved to flat areas: a tenth of the encode, for half a dB less on camera pictures.
        # Macroblocks cut in parts, and a look for scene cuts: another twentieth, for 0.1 dB.
        "aq-mode": "0",
        "partitions": "none",
        "sc_threshold": "0",
        # One second of buffer: a keyframe may be large, the average may not.
        "maxrate": str(bitrate_bps),
        "bufsize": str(bitrate_bps),
    }


def _vp8_options(bitrate_bps: int, pixels: int) -> dict[str, str]:
    large = pixels >= VP8_LARGE_PIXELS
    return {
        "deadline": "realtime",
        "cpu-used": str(VP8_CPU_USED_LARGE if large else VP8_CPU_USED_SMALL),
        "lag-in-frames": "0",
        # The denoiser costs a fifth of the encode and lowers PSNR on camera pictures.
        "noise-sensitivity": "0",
        "minrate": str(bitrate_bps),
        "maxrate": str(bitrate_bps),
        "bufsize": str(bitrate_bps),
        "overshoot-pct": "15",
        "undershoot-pct": "100",
        "partitions": "0",
        "static-thresh": "1",
        "error-resilient": "0",
    }

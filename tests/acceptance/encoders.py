"""`python -m tests.acceptance.encoders`: the service's encoders beside aiortc's own.

CPU of the process per frame (all threads of an encoder) and PSNR of the luma, at one bitrate, over
the load test's own clip or any film.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from aiortc.codecs import depayload, get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.frame import PictureType

from loadtest import clip as clips
from loadtest.clip import luma_of
from service.rtc.bitrate import talking_head_bps
from service.rtc.codecs import TIME_BASE, VIDEO_CLOCK_HZ, Codec, Encoder

FPS = 30
SECONDS = 6
SIZES = ((640, 360), (1280, 720))

Encode = Callable[[av.VideoFrame], list[bytes]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.encoders")
    parser.add_argument("--clip", type=Path, help="a film (default: a test person in a room)")
    chosen = parser.parse_args()
    for width, height in SIZES:
        film = (
            clips.filmed(chosen.clip, (width, height), SECONDS * FPS)
            if chosen.clip
            else clips.default_film((width, height), FPS, SECONDS)
        )
        bitrate_bps = talking_head_bps(width, height)
        for codec in Codec:
            for name, encode in (
                ("service", _own(codec, bitrate_bps)),
                ("aiortc", _stock(codec, bitrate_bps)),
            ):
                cpu_ms, psnr_db, kbps = _measure(film, codec, encode)
                sys.stdout.write(
                    f"{width}x{height} {codec.value} {name:8} {cpu_ms:6.2f} ms CPU/frame "
                    f"{psnr_db:5.1f} dB {kbps:5.0f} kbit/s\n"
                )
    return 0


def _own(codec: Codec, bitrate_bps: int) -> Encode:
    encoder = Encoder(codec)
    return lambda frame: encoder.encode(frame, keyframe=False, bitrate_bps=bitrate_bps)


def _stock(codec: Codec, bitrate_bps: int) -> Encode:
    encoder: Any = get_encoder(_parameters(codec))
    encoder.target_bitrate = bitrate_bps
    return lambda frame: cast("list[bytes]", encoder.encode(frame)[0])


def _parameters(codec: Codec) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(f"video/{codec.value}", VIDEO_CLOCK_HZ, payloadType=97)


def _measure(film: list[av.VideoFrame], codec: Codec, encode: Encode) -> tuple[float, float, float]:
    """CPU ms per frame, PSNR in dB, kbit/s."""
    decoder = cast("Any", av.CodecContext.create("h264" if codec is Codec.H264 else "vp8", "r"))
    decoder.thread_count = 1
    decoder.options = {"flags": "+low_delay"}
    cpu_s, errors, size = 0.0, [], 0
    for index, picture in enumerate(film):
        picture.pts, picture.time_base = index * VIDEO_CLOCK_HZ // FPS, TIME_BASE
        picture.pict_type = PictureType.NONE
        started_s = time.process_time()
        payloads = encode(picture)
        cpu_s += time.process_time() - started_s
        data = b"".join(depayload(_parameters(codec), payload) for payload in payloads)
        size += len(data)
        for decoded in decoder.decode(av.Packet(data)):
            difference = luma_of(decoded).astype(np.int16) - luma_of(picture)
            errors.append(float((difference**2).mean()))
    mse = statistics.mean(errors)
    return (
        1e3 * cpu_s / len(film),
        10 * math.log10(255**2 / mse),
        8e-3 * size * FPS / len(film),
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a stream costs where there is no network to serve: the same bytes, in one thread, in memory.

Decodes what a client of the load test sends, runs the person model on every frame, blends in 8-bit
YUV and encodes, with the encoder settings of the service. There is no RTP, no event loop and no
queue, and nothing is cleverly left out: that is what a server's cost per frame is held against.
Frames come as a camera sends them, since a core that has slept until the next one finds other data
in its caches than it left; `paced=False` goes on at once, which is the cost in a tight loop.
Runs alone, too: `python -m loadtest.floor`; the bench runs it beside the servers.
"""

from __future__ import annotations

import argparse
import fractions
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import cv2
import numpy as np
import onnxruntime
from av.video.frame import PictureType

from loadtest import clip as clips
from loadtest.clip import Codec
from loadtest.planes import GREEN_YUV, chroma_size, planes_of
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

    from loadtest.clip import EncodedClip

MODEL = Path(__file__).resolve().parents[1] / "models" / "selfie_landscape.onnx"
CLOCK = fractions.Fraction(1, 90_000)
"""The time base of video in RTP: x264 spends bits by the distance of two frames."""
NOMINAL_FPS = 30
KEYFRAME_INTERVAL_FRAMES = 3000
FASTEST_VP8_ABOVE_PX = 1280 * 720


@dataclass(frozen=True, slots=True)
class Floor:
    """CPU time of the thread, means over the frames, in milliseconds."""

    codec: str
    width: int
    height: int
    frames: int
    decode_ms: float
    prepare_ms: float
    "Decoded planes to the model's input."
    person_ms: float
    blend_ms: float
    "The mask's enlargement is in it."
    encode_ms: float
    encoded_kbps: float

    @property
    def total_ms(self) -> float:
        return self.decode_ms + self.prepare_ms + self.person_ms + self.blend_ms + self.encode_ms

    def as_json(self) -> dict[str, object]:
        figures = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return figures | {"total_ms": round(self.total_ms, 3)}

    def as_line(self) -> str:
        """One line for a person."""
        return (
            f"floor: {self.total_ms:.2f} ms CPU/frame (decode {self.decode_ms:.2f}, prepare "
            f"{self.prepare_ms:.2f}, person {self.person_ms:.2f}, blend {self.blend_ms:.2f}, "
            f"encode {self.encode_ms:.2f}), {self.codec} {self.width}x{self.height}, "
            f"{self.frames} frames, {self.encoded_kbps:.0f} kbit/s"
        )


class Stream:
    """One stream's codecs, model and buffers. `process` is to be called from one thread."""

    def __init__(
        self, clip: EncodedClip, model: Path, bitrate_bps: int, *, effect: bool = True
    ) -> None:
        """Without an effect the picture is decoded and encoded, and nothing else."""
        width, height = clip.width, clip.height
        self.decoder = decoder(clip.codec)
        self.encoder = encoder(clip.codec, width, height, bitrate_bps)
        self._person = _Person(model) if effect else None
        # Never blended in place: the decoder predicts the next picture from the last one.
        self._output = av.VideoFrame(width, height, "yuv420p")
        self._green = [
            np.full(plane.shape, level, np.uint8)
            for plane, level in zip(planes_of(self._output), GREEN_YUV, strict=True)
        ]
        self._step = round(1 / (CLOCK * clip.fps))
        self._pts = 0
        self.used_s = dict.fromkeys(("decode", "prepare", "person", "blend", "encode"), 0.0)
        self.encoded_bytes = 0
        self.frames = 0

    def process(self, data: bytes) -> None:
        """One encoded frame: to a picture, to a mask, to a blended picture, to encoded bytes."""
        begin_s = time.thread_time()
        pictures = self.decoder.decode(av.Packet(data))
        self._spent("decode", begin_s)
        for picture in pictures:
            shown = picture if self._person is None else self._replaced(self._person, picture)
            begin_s = time.thread_time()
            self._encode(shown)
            self._spent("encode", begin_s)
            self.frames += 1

    def _replaced(self, person: _Person, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture with green behind the person; valid until the next call."""
        source = planes_of(picture)
        begin_s = time.thread_time()
        given = person.prepare(source)
        begin_s = self._spent("prepare", begin_s)
        found = person.find(given)
        begin_s = self._spent("person", begin_s)
        self._blend(source, found)
        self._spent("blend", begin_s)
        return self._output

    def _spent(self, stage: str, begin_s: float) -> float:
        now_s = time.thread_time()
        self.used_s[stage] += now_s - begin_s
        return now_s

    def _blend(self, source: list[NDArray[np.uint8]], found: NDArray[np.float32]) -> None:
        """The output's planes = source where a person was found (0 to 1), green elsewhere."""
        mask = cv2.convertScaleAbs(found, alpha=255)
        luma_mask = cv2.resize(mask, (self._output.width, self._output.height))
        chroma_mask = cv2.resize(mask, chroma_size(self._output))
        outputs = planes_of(self._output)
        for plane, green, out, fine in zip(
            source, self._green, outputs, (luma_mask, chroma_mask, chroma_mask), strict=True
        ):
            front = cv2.multiply(plane, fine, scale=1 / 255)
            behind = cv2.multiply(green, cv2.bitwise_not(fine), scale=1 / 255)
            cv2.add(front, behind, dst=out)

    def _encode(self, picture: av.VideoFrame) -> None:
        picture.pts, picture.time_base = self._pts, CLOCK
        picture.pict_type = PictureType.NONE
        self._pts += self._step
        self.encoded_bytes += sum(packet.size for packet in self.encoder.encode(picture))


class _Person:
    """The selfie segmenter, one thread."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        (wanted,) = self._network.get_inputs()
        self._name = wanted.name
        self._rows, self._columns = wanted.shape[1:3]

    def prepare(self, source: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Y, U and V to 1 x rows x columns x 3 RGB: reduced first, so that little is converted."""
        size = (self._columns, self._rows)
        luma = cv2.resize(source[0], size, interpolation=cv2.INTER_AREA)
        u, v = (cv2.resize(plane, size) for plane in source[1:])
        rgb = cv2.cvtColor(cv2.merge((luma, v, u)), cv2.COLOR_YCrCb2RGB)
        return cast("NDArray[np.uint8]", rgb[None])

    def find(self, given: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How much of each cell is person: rows x columns, 0 to 1."""
        (found,) = self._network.run(None, {self._name: given})
        return cast("NDArray[np.float32]", found.reshape(self._rows, self._columns))


def decoder(codec: Codec) -> VideoCodecContext:
    name = "h264" if codec is Codec.H264 else "vp8"
    context = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
    context.thread_count = 1
    context.options = {"flags": "+low_delay"}
    return context


def encoder(codec: Codec, width: int, height: int, bitrate_bps: int) -> VideoCodecContext:
    """As service/rtc/codecs.py sets it up; the tests hold both to the same bytes."""
    name = "libx264" if codec is Codec.H264 else "libvpx"
    context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate = bitrate_bps
    context.time_base = CLOCK
    context.framerate = fractions.Fraction(NOMINAL_FPS, 1)
    context.gop_size = KEYFRAME_INTERVAL_FRAMES
    context.thread_count = 1
    rate = {"maxrate": str(bitrate_bps), "bufsize": str(bitrate_bps)}
    if codec is Codec.H264:
        context.profile = "Baseline"
        context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "aq-mode": "0",
            "partitions": "none",
            "sc_threshold": "0",
            **rate,
        }
        return context
    context.qmin, context.qmax = 2, 56
    context.options = {
        "deadline": "realtime",
        "cpu-used": "-16" if width * height > FASTEST_VP8_ABOVE_PX else "-14",
        "lag-in-frames": "0",
        "noise-sensitivity": "0",
        "minrate": str(bitrate_bps),
        "overshoot-pct": "15",
        "undershoot-pct": "100",
        "partitions": "0",
        "static-thresh": "1",
        "error-resilient": "0",
        **rate,
    }
    return context


def measure(
    clip: EncodedClip,
    frames: int,
    model: Path = MODEL,
    bitrate_bps: int | None = None,
    *,
    paced: bool = True,
    effect: bool = True,
) -> Floor:
    """The lead-in unmeasured, then that many frames of the loop at the clip's rate, or one after
    the other where not `paced`; encoded as the camera is where no bitrate is given. Without the
    `effect` it is decoding and encoding alone. OpenCV is kept to the calling thread, for good."""
    cv2.setNumThreads(1)
    rate = bitrate_bps or clips.camera_bitrate_bps(clip.width, clip.height)
    stream = Stream(clip, model, rate, effect=effect)
    for data in clip.frames[: clip.loop_from]:
        stream.process(data)
    stream.used_s = dict.fromkeys(stream.used_s, 0.0)
    stream.encoded_bytes = stream.frames = 0
    loop = clip.frames[clip.loop_from :]
    began_s = time.monotonic()
    for number in range(frames):
        if paced:
            time.sleep(max(0.0, began_s + number / clip.fps - time.monotonic()))
        stream.process(loop[number % len(loop)])
    if stream.frames != frames:
        raise RuntimeError(f"{frames} frames went in, {stream.frames} came out of the decoder")
    spent_ms = {f"{stage}_ms": 1e3 * used / frames for stage, used in stream.used_s.items()}
    return Floor(
        codec=clip.codec.value,
        width=clip.width,
        height=clip.height,
        frames=frames,
        encoded_kbps=8e-3 * stream.encoded_bytes * clip.fps / frames,
        **spent_ms,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it alone; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.floor", description=__doc__)
    parser.add_argument("--clip", type=Path, help="a film (default: a test person in a room)")
    parser.add_argument("--height", type=int, choices=(360, 720), default=360, help="of 16:9")
    parser.add_argument("--fps", type=int, default=NOMINAL_FPS)
    parser.add_argument("--codec", type=Codec, default=Codec.H264, help="h264 or vp8")
    parser.add_argument("--frames", type=int, default=300, help="measured, after a lead-in")
    parser.add_argument("--model", type=Path, default=MODEL, help="uint8 1xHxWx3 -> person 0..1")
    parser.add_argument("--effect", choices=("color", "none"), default="color")
    parser.add_argument("--tight", action="store_true", help="do not wait for the next frame")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a line")
    chosen = parser.parse_args(arguments)
    size = (chosen.height * 16 // 9, chosen.height)
    film = (
        clips.filmed(chosen.clip, size, clips.LOOP_S * chosen.fps)
        if chosen.clip
        else clips.default_film(size, chosen.fps)
    )
    clip = clips.prepare(film, chosen.codec, chosen.fps, place=Place())
    found = measure(
        clip,
        chosen.frames,
        chosen.model,
        paced=not chosen.tight,
        effect=chosen.effect == "color",
    )
    sys.stdout.write((json.dumps(found.as_json()) if chosen.json else found.as_line()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

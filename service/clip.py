"""The ``matte`` command: a video file through the live frame path, frame by frame, without drops.

Writes what the pipeline believes to be person (FFV1, gray, the size and number of frames of the
input) and, when asked, what it would send (H264). Used by __main__.py, which wires the two
functions at the top; judging a matte from files is what it is for.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import av

from service.errors import BackclothError
from service.footage import NO_LIMIT_PX, ClipError, frames, padded, processed
from service.frame.models import Models
from service.frame.picture import Picture, decode_picture
from service.frame.pipeline import Look, Pipeline
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import DEFAULT_EFFECT, MODELS, Effect, Image, Nothing, parse_effect

if TYPE_CHECKING:
    import argparse
    from fractions import Fraction

ROOT = Path(__file__).resolve().parents[1]
QUALITY = "18"  # x264's constant rate factor: what the eye takes for lossless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("input", type=Path, metavar="IN", help="a video file")
    parser.add_argument(
        "--alpha", type=Path, required=True, metavar="OUT.mkv", help="the matte: FFV1, gray"
    )
    parser.add_argument("--video", type=Path, metavar="OUT.mp4", help="the result: H264")
    parser.add_argument(
        "--effect", default=None, metavar="JSON", help="as in the HTTP interface; default: blur"
    )
    parser.add_argument("--model", choices=MODELS, help="in place of the effect's own")
    parser.add_argument(
        "--background", type=Path, metavar="FILE", help="the picture of an image effect"
    )
    parser.add_argument(
        "--directory", type=Path, default=MODELS_DIRECTORY, help="folder of the models"
    )


def run(args: argparse.Namespace) -> int:
    """0, or 1 with a line on stderr that says what is wrong."""
    try:
        look = look_for(args.effect, args.model, args.background)
        models = Models.load(args.directory)
        count = matte(args.input, args.alpha, args.video, look=look, models=models)
    except BackclothError as exc:
        print(f"matte: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{count} frames")  # noqa: T201
    return 0


def look_for(effect_text: str | None, model: str | None, background: Path | None) -> Look:
    """The look that the options name. Raises BackclothError."""
    effect: Effect = DEFAULT_EFFECT
    if effect_text is not None:
        try:
            effect = parse_effect(json.loads(effect_text))
        except json.JSONDecodeError as exc:
            raise ClipError(f"--effect is not JSON: {exc}") from exc
    if model is not None and not isinstance(effect, Nothing):
        effect = dataclasses.replace(effect, model=model)
    picture = None
    if isinstance(effect, Image):
        picture = _picture(background or _built_in(effect.background))
    return Look(effect, picture)


def matte(source: Path, alpha: Path, video: Path | None, *, look: Look, models: Models) -> int:
    """Run source through a pipeline of its own; returns the number of frames."""
    pipeline = Pipeline(models, look, max_width=NO_LIMIT_PX, max_height=NO_LIMIT_PX)
    writers: list[_Writer] = []
    count = 0
    try:
        for frame, rate in frames(source):
            result, found = processed(pipeline, frame)
            if not writers:
                writers.append(_Writer(alpha, "ffv1", "gray", frame, rate))
                if video is not None:
                    writers.append(_Writer(video, "libx264", "yuv420p", result.frame, rate))
            gray = av.VideoFrame.from_ndarray(
                padded(found, frame.width, frame.height), format="gray"
            )
            for writer, out in zip(writers, (gray, result.frame), strict=False):
                writer.write(out, frame)
            result.release()
            count += 1
        if count == 0:
            raise ClipError(f"{source} has no video frames")
    finally:
        for writer in writers:
            writer.close()
    return count


class _Writer:
    """One output file of one stream."""

    def __init__(
        self, path: Path, codec: str, pix_fmt: str, first: av.VideoFrame, rate: Fraction
    ) -> None:
        self._path = path
        try:
            self._container = av.open(str(path), "w")
            options = {"crf": QUALITY} if codec == "libx264" else {}
            stream = self._container.add_stream(codec, rate=rate, options=options)
        except (av.FFmpegError, OSError, ValueError) as exc:
            raise ClipError(f"{path} cannot be written: {exc}") from exc
        width, height = first.width, first.height
        if codec == "libx264":
            width, height = width & ~1, height & ~1
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = pix_fmt
        self._time_base = first.time_base or 1 / rate
        self._stream.codec_context.time_base = self._time_base
        self._next_pts = 0

    def write(self, out: av.VideoFrame, source: av.VideoFrame) -> None:
        """out at the time of source; times that do not increase are moved on."""
        if (out.width, out.height) != (self._stream.width, self._stream.height):
            raise ClipError("the video changes its size half way, which a file cannot hold")
        pts = source.pts if source.pts is not None else self._next_pts
        out.pts = max(self._next_pts, pts)
        out.time_base = self._time_base
        out.pict_type = 0
        self._next_pts = out.pts + 1
        self._mux(out)

    def close(self) -> None:
        try:
            if self._next_pts:
                self._mux(None)
        finally:
            self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as exc:
            raise ClipError(f"{self._path} cannot be written: {exc}") from exc


def _built_in(name: str) -> Path:
    found = sorted((ROOT / "backgrounds").glob(f"{name}.*"))
    if not found:
        raise ClipError(f"there is no background named {name!r}; give one by --background FILE")
    return found[0]


def _picture(path: Path) -> Picture:
    try:
        return decode_picture(path.read_bytes())
    except OSError as exc:
        raise ClipError(f"{path} cannot be read: {exc.strerror}") from exc

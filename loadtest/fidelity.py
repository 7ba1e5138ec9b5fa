"""Whether what came back is what it claims to be: cheap by sending less or worse does not count.

Works on the returned frames of a measured run, which the client kept as they were encoded. The
alpha that is seen in a returned picture is recovered from how far each pixel's colour has moved
from the source to the background's colour, and held against the matte that the server's own frame
path makes of the very same bytes (`service matte`, run on a file of what was sent, frame by frame
and without drops). The picture is held against source and background blended by that matte, with
no encoder in between: what is missing then is what encoding, or less work on the matte, has cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import math
import shlex
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from loadtest.clip import Codec, luma_of
from loadtest.example_server import MODEL, Effect
from loadtest.floor import decoder
from loadtest.planes import planes_of, yuv_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from loadtest.clip import EncodedClip

MATTE_COMMAND = f"{sys.executable} -m service matte {{input}} --alpha {{alpha}} --effect {{effect}}"
"""What the server's frame path makes of a file; run from the project's folder."""
MATTE_TIMEOUT_S = 300.0
TELLING_CHROMA = 24.0
"""Distance in U and V between source and background from which on a pixel's alpha can be told: an
encoder's error of 3 is then an eighth of it at most."""
LEVELS = 255.0

Planes = list["NDArray[np.uint8]"]


class NotComparable(Exception):
    """What came back cannot be held against anything; the message says why."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A frame that came back, and the number of the sent frame that it was made of."""

    sent: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Means over the frames that were judged."""

    frames: int
    telling_share: float
    "Of the pixels (at chroma's size): those whose alpha can be told from their colour."
    iou: float
    "Of the person at alpha 0.5, recovered beside the matte's; telling pixels only."
    worst_iou: float
    "Of the frame that did worst."
    mad: float
    "Mean absolute difference of the two alphas, 0 to 1; telling pixels only."
    psnr_db: float
    "All three planes, from the mean squared error over all frames."

    def as_json(self) -> dict[str, object]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


async def judge(
    clip: EncodedClip,
    sent: Sequence[int],
    returned: Sequence[Coded],
    *,
    judged: Callable[[int], bool],
    effect: str,
    matte_command: str = MATTE_COMMAND,
) -> Fidelity:
    """Returned frames of an effect `color` beside the matte of what was sent.

    `sent`: the clip's frames in the order in which they went out, by index. `returned`: in the
    order in which they came, from a keyframe on. `judged`: whether a sent frame counts, by its
    number; all are decoded. `effect`: the colour, `#rrggbb`. Raises NotComparable.
    """
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        film, alpha = Path(folder, "sent.nut"), Path(folder, "alpha.mkv")
        write_film(film, clip, sent)
        await _run_matte(matte_command, film, alpha, effect)
        # The event loop has nothing else to do, but a comparison of seconds is no work for it.
        return await asyncio.to_thread(compare, clip, film, alpha, returned, judged, yuv_of(effect))


def example_psnr_db(
    clip: EncodedClip, sent: Sequence[int], returned: Sequence[Coded], judged: Callable[[int], bool]
) -> float:
    """How near the naive server's returned pictures are to what it encoded, by the arithmetic of
    example_server.py; another server's are judged by it as well as they agree with it."""
    effect = Effect(MODEL)
    error = SquaredError()
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        film = Path(folder, "sent.nut")
        write_film(film, clip, sent)
        sources = _numbered(film, "yuv420p")
        for number, picture in decoded(clip.codec, returned):
            source = _at(sources, number)
            if judged(number):
                wanted = effect(source).reformat(format="yuv420p")
                error.add(planes_of(picture), planes_of(wanted))
    if not error.samples:
        raise NotComparable("no returned frame was there to be judged")
    return error.psnr_db


def write_film(path: Path, clip: EncodedClip, sent: Sequence[int]) -> None:
    """What was sent as a file, byte for byte as it was encoded."""
    time_base = fractions.Fraction(1, clip.fps)
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream(
            "libx264" if clip.codec is Codec.H264 else "libvpx", rate=clip.fps
        )
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.time_base = time_base
        for number, index in enumerate(sent):
            packet = av.Packet(clip.frames[index])
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = time_base, stream
            packet.is_keyframe = index in clip.keyframes
            container.mux(packet)


async def _run_matte(command: str, film: Path, alpha: Path, effect: str) -> None:
    values = {
        "input": str(film),
        "alpha": str(alpha),
        "effect": json.dumps({"type": "color", "color": effect}),
    }
    words = [values.get(word.strip("{}"), word) for word in shlex.split(command)]
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(MATTE_TIMEOUT_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise NotComparable(f"no matte within {MATTE_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NotComparable(f"{command}: {said.decode(errors='replace').strip()}")


def compare(
    clip: EncodedClip,
    film: Path,
    alpha: Path,
    returned: Sequence[Coded],
    judged: Callable[[int], bool],
    colour: tuple[int, int, int],
) -> Fidelity:
    """Three streams in step: what was sent, the matte of it, and what came back."""
    score = _Score(colour)
    # zip is not for it: a frame that did not come back is passed over in both others.
    sources, mattes = _numbered(film, "yuv420p"), _numbered(alpha, "gray")
    for number, picture in decoded(clip.codec, returned):
        source, matte = _at(sources, number), _at(mattes, number)
        if not judged(number):
            continue
        if (picture.width, picture.height) != (clip.width, clip.height):
            raise NotComparable(
                f"{picture.width}x{picture.height} came back of {clip.width}x{clip.height}"
            )
        score.add(planes_of(picture), planes_of(source), luma_of(matte))
    return score.result()


class _Score:
    """Sums over the judged frames."""

    def __init__(self, colour: tuple[int, int, int]) -> None:
        self._colour = colour
        self._telling: list[float] = []
        self._ious: list[float] = []
        self._mads: list[float] = []
        self._psnr = SquaredError()

    def add(self, picture: Planes, source: Planes, matte: NDArray[np.uint8]) -> None:
        found, telling = recovered_alpha(picture, source, self._colour)
        size = (found.shape[1], found.shape[0])
        expected = cv2.resize(matte, size, interpolation=cv2.INTER_AREA).astype(np.float32) / LEVELS
        self._psnr.add(picture, composed(source, matte, self._colour))
        self._telling.append(float(telling.mean()))
        if not telling.any():
            return
        here, there = found[telling], expected[telling]
        together = np.count_nonzero((here >= 0.5) & (there >= 0.5))
        either = np.count_nonzero((here >= 0.5) | (there >= 0.5))
        self._ious.append(float(together / either) if either else 1.0)
        self._mads.append(float(np.abs(here - there).mean()))

    def result(self) -> Fidelity:
        if not self._telling:
            raise NotComparable("no returned frame was there to be judged")
        if not self._ious:
            raise NotComparable("the source has the background's colour everywhere")
        return Fidelity(
            frames=len(self._telling),
            telling_share=float(np.mean(self._telling)),
            iou=float(np.mean(self._ious)),
            worst_iou=min(self._ious),
            mad=float(np.mean(self._mads)),
            psnr_db=self._psnr.psnr_db,
        )


class SquaredError:
    """Of pictures beside what they should be, all samples of all planes alike."""

    def __init__(self) -> None:
        self.samples = 0
        self._sum = 0.0

    def add(self, picture: Planes, wanted: Planes) -> None:
        for one, other in zip(picture, wanted, strict=True):
            self._sum += cv2.norm(one, other, cv2.NORM_L2SQR)
            self.samples += one.size

    @property
    def psnr_db(self) -> float:
        """Infinite for pictures that are the same, or none."""
        if not self._sum:
            return math.inf
        return 10 * math.log10(LEVELS**2 * self.samples / self._sum)


def recovered_alpha(
    picture: Planes, source: Planes, colour: tuple[int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The alpha with which a picture was blended of source and colour, 0 to 1, and where it tells.

    Both H/2 x W/2. Least squares over U and V: the share of the way from the colour to the source
    at which the picture lies. It tells nothing where source and colour are much alike.
    """
    span = [plane.astype(np.float32) - level for plane, level in _chroma(source, colour)]
    moved = [plane.astype(np.float32) - level for plane, level in _chroma(picture, colour)]
    length = span[0] ** 2 + span[1] ** 2
    telling = length >= TELLING_CHROMA**2
    along = moved[0] * span[0] + moved[1] * span[1]
    found = np.clip(along / np.maximum(length, 1.0), 0.0, 1.0)
    return found.astype(np.float32), telling


def composed(source: Planes, matte: NDArray[np.uint8], colour: tuple[int, int, int]) -> Planes:
    """The source in front of the colour, blended in 8 bits by a matte of the luma's size."""
    blended = []
    for plane, level in zip(source, colour, strict=True):
        size = (plane.shape[1], plane.shape[0])
        # The server enlarges one mask for both; at chroma's size, that is every second sample's.
        fine = matte if matte.shape == plane.shape else _reduced(matte, size)
        weight = fine.astype(np.float32) / LEVELS
        blended.append(np.rint(plane * weight + level * (1 - weight)).astype(np.uint8))
    return blended


def decoded(codec: Codec, returned: Iterable[Coded]) -> Iterator[tuple[int, av.VideoFrame]]:
    """The pictures of returned frames, each with the number of its sent frame."""
    context = decoder(codec)
    for one in returned:
        try:
            pictures = context.decode(av.Packet(one.data))
        except av.FFmpegError as exc:
            raise NotComparable(f"a returned frame cannot be decoded: {exc.strerror}") from exc
        for picture in pictures:
            yield one.sent, picture


def _numbered(path: Path, pix_fmt: str) -> Iterator[tuple[int, av.VideoFrame]]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            yield number, frame.reformat(format=pix_fmt)


def _at(frames: Iterator[tuple[int, av.VideoFrame]], wanted: int) -> av.VideoFrame:
    """The frame of that number; those before it are passed over."""
    for number, frame in frames:
        if number == wanted:
            return frame
    raise NotComparable(f"frame {wanted} came back, but was not sent or came twice")


def _chroma(
    planes: Planes, colour: tuple[int, int, int]
) -> tuple[tuple[NDArray[np.uint8], int], tuple[NDArray[np.uint8], int]]:
    return (planes[1], colour[1]), (planes[2], colour[2])


def _reduced(matte: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), np.uint8)

"""Encoded clips in the user's cache directory: drawing the default one takes seconds.

A file's name is made of what the clip is made from, the drawing and encoding code included, so that
a changed picture is another file. A file that is damaged is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2

from loadtest import clip, scene, stamp
from loadtest.clip import Codec, EncodedClip
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = "backcloth-loadtest"
KEPT = 12
"""Files; the oldest go. One has a few MB."""


def default_clip(
    size: tuple[int, int], codec: Codec, fps: int, *, place: Place | None
) -> EncodedClip:
    """The default film of that size, prepared: drawn and encoded once, and then read."""
    key = json.dumps([size, codec.value, fps, None if place is None else asdict(place)])
    return cached(key, lambda: clip.prepare(clip.default_film(size, fps), codec, fps, place=place))


def cached(key: str, make: Callable[[], EncodedClip]) -> EncodedClip:
    """What was made for the same key by the same code, or what is made now. A cache that cannot be
    written is none."""
    path = folder() / f"{_name(key)}.clip"
    try:
        return _read(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        made = make()
    with contextlib.suppress(OSError):
        _write(path, made)
    return made


def folder() -> Path:
    """Of the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / FOLDER


def _name(key: str) -> str:
    digest = hashlib.sha256(key.encode())
    for module in (clip, scene, stamp):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(f"{av.__version__} {cv2.__version__}".encode())
    return digest.hexdigest()[:24]


def _write(path: Path, made: EncodedClip) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {
        **asdict(replace(made, frames=())),
        "codec": made.codec.value,
        "sizes": [len(frame) for frame in made.frames],
    }
    # Another process that reads meanwhile sees the old file or the new one.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(json.dumps(head).encode() + b"\n" + b"".join(made.frames))
    Path(file.name).replace(path)
    files = sorted(path.parent.glob("*.clip"), key=lambda one: one.stat().st_mtime)
    for old in files[:-KEPT]:
        old.unlink(missing_ok=True)


def _read(data: bytes) -> EncodedClip:
    """Raises ValueError, KeyError or TypeError where it is not whole."""
    first, newline, body = data.partition(b"\n")
    head = json.loads(first)
    edges = [0, *accumulate(head.pop("sizes"))]
    if not newline or edges[-1] != len(body):
        raise ValueError("the file is cut off")
    head |= {
        "codec": Codec(head["codec"]),
        "frames": tuple(body[start:end] for start, end in pairwise(edges)),
        "keyframes": tuple(head["keyframes"]),
        "place": Place(**head["place"]),
    }
    return EncodedClip(**head)

"""How many bits a second a talking head needs, and when the encoder may change its mind.

Pure, time passed in. codecs.py asks; the peer's REMB and PLI come in through sender.py.
A new bitrate means a new encoder and so a keyframe: steps have hysteresis and a pause.
"""

from __future__ import annotations

MIN_BITRATE_BPS = 150_000
MAX_BITRATE_BPS = 4_000_000
BASE_BITRATE_BPS = 400_000
BITS_PER_PIXEL_S = 1.74
"""With the base: 0.8 Mbit/s at 640x360 and 2.0 Mbit/s at 1280x720, the rates at which x264
superfast gives about 39 dB on camera pictures (docs/performance.md)."""
LOWER_BELOW = 0.85
RAISE_ABOVE = 1.25
RAISE_PAUSE_S = 5.0
LOWER_PAUSE_S = 1.0
KEYFRAME_PAUSE_S = 0.5


def talking_head_bps(width: int, height: int) -> int:
    """The bitrate that a camera picture of this size (pixels) is encoded with at the start."""
    wanted = BASE_BITRATE_BPS + round(BITS_PER_PIXEL_S * width * height)
    return min(MAX_BITRATE_BPS, wanted)


class BitrateControl:
    """One track's bitrate: the need of its size, lowered to what the receiver can take."""

    def __init__(self) -> None:
        self._estimate_bps: int | None = None
        self._current_bps: int | None = None
        self._size: tuple[int, int] | None = None
        self._changed_s = float("-inf")

    def estimate(self, bps: int) -> None:
        """The receiver's estimated maximum (REMB), bits per second."""
        self._estimate_bps = bps

    def choose(self, width: int, height: int, *, now_s: float) -> int:
        """Bits per second for the next frame of this size."""
        need = talking_head_bps(width, height)
        target = need if self._estimate_bps is None else min(need, self._estimate_bps)
        target = max(MIN_BITRATE_BPS, target)
        if self._current_bps is None or self._size != (width, height):
            # Another size is another encoder anyway: no keyframe is lost by changing the rate too.
            return self._set(target, width, height, now_s)
        since_s = now_s - self._changed_s
        if target < LOWER_BELOW * self._current_bps and since_s >= LOWER_PAUSE_S:
            return self._set(target, width, height, now_s)
        if target > RAISE_ABOVE * self._current_bps and since_s >= RAISE_PAUSE_S:
            return self._set(target, width, height, now_s)
        return self._current_bps

    def _set(self, bps: int, width: int, height: int, now_s: float) -> int:
        self._current_bps, self._size, self._changed_s = bps, (width, height), now_s
        return bps


class KeyframeRequests:
    """Keyframes that the peer asked for, at most one per KEYFRAME_PAUSE_S.

    A request inside the pause is kept and answered when the pause is over: a PLI that is
    dropped would leave the receiver frozen until it sends another.
    """

    def __init__(self) -> None:
        self._wanted = False
        self._last_s = float("-inf")

    def ask(self) -> None:
        self._wanted = True

    def due(self, *, now_s: float) -> bool:
        """Whether the next frame must be a keyframe; asking counts as making it."""
        if not self._wanted or now_s - self._last_s < KEYFRAME_PAUSE_S:
            return False
        self._wanted = False
        self._last_s = now_s
        return True

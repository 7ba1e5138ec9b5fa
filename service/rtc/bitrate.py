"""How many bits a second a talking head needs, and when the encoder may change its mind.

Pure, time passed in. codecs.py asks; the peer's REMB and PLI come in through sender.py.
A new bitrate means a new encoder and so a keyframe: steps have hysteresis and a pause.
"""

from __future__ import annotations

from collections import deque

MIN_BITRATE_BPS = 150_000
MAX_BITRATE_BPS = 4_000_000
BASE_BITRATE_BPS = 400_000
BITS_PER_PIXEL_S = 1.74
"""With the base: 0.8 Mbit/s at 640x360 and 2.0 Mbit/s at 1280x720, the rates at which x264
superfast gives about 39 dB on camera pictures (docs/performance.md)."""
LOWER_BELOW = 0.85
RAISE_ABOVE = 1.25
RAISE_STEP = 1.5
NOT_FULL_ABOVE = 1.2
SENT_WINDOW_S = 1.0
MAX_SENT_EVENTS = 128
RAISE_PAUSE_S = 5.0
LONGEST_RAISE_PAUSE_S = 80.0
"""A raise that the path did not bear makes the next one wait twice as long, up to this."""
RAISE_HOLDS_S = 10.0
"""So long a raise has to last to count as borne."""
LOWER_PAUSE_S = 1.0
KEYFRAME_PAUSE_S = 0.5


def talking_head_bps(width: int, height: int) -> int:
    """The bitrate that a camera picture of this size (pixels) is encoded with at the start."""
    wanted = BASE_BITRATE_BPS + round(BITS_PER_PIXEL_S * width * height)
    return min(MAX_BITRATE_BPS, wanted)


class BitrateControl:
    """One track's bitrate: the need of its size, lowered when the path to the receiver is full."""

    def __init__(self) -> None:
        self._full_at_bps: int | None = None
        self._current_bps: int | None = None
        self._size: tuple[int, int] | None = None
        self._changed_s = float("-inf")
        self._raised_s = float("-inf")
        self._raise_pause_s = RAISE_PAUSE_S
        self._sent: deque[tuple[float, int]] = deque(maxlen=MAX_SENT_EVENTS)

    def sent(self, size_bytes: int, *, now_s: float) -> None:
        """That much of the track went out."""
        self._sent.append((now_s, size_bytes))

    def estimate(self, bps: int, *, now_s: float) -> None:
        """The receiver's estimated maximum (REMB), bits per second.

        A receiver can't see more than it is sent: libwebrtc's estimate is bounded by 1.5 times
        what came in. Where it is well above that, it says that the path is not full, whatever
        the number; a calm picture must not talk its own bitrate down.
        """
        full = bps < NOT_FULL_ABOVE * self._sent_bps(now_s)
        self._full_at_bps = bps if full else None

    def choose(self, width: int, height: int, *, now_s: float) -> int:
        """Bits per second for the next frame of this size."""
        need = talking_head_bps(width, height)
        if self._current_bps is None or self._size != (width, height):
            # Another size is another encoder anyway: no keyframe is lost by changing the rate too.
            start = need if self._full_at_bps is None else min(need, self._full_at_bps)
            return self._set(max(MIN_BITRATE_BPS, start), width, height, now_s)
        current, since_s = self._current_bps, now_s - self._changed_s
        # Back up by steps: the path that was full may be full again.
        target = need if self._full_at_bps is None else self._full_at_bps
        target = max(MIN_BITRATE_BPS, min(need, target, round(RAISE_STEP * current)))
        if target < LOWER_BELOW * current and since_s >= LOWER_PAUSE_S:
            # Where a picture sends less than the path bears, only a try tells whether it bears
            # more. One that fails costs a keyframe both ways, so the next comes later.
            held = now_s - self._raised_s >= RAISE_HOLDS_S
            longer = min(LONGEST_RAISE_PAUSE_S, 2 * self._raise_pause_s)
            self._raise_pause_s = RAISE_PAUSE_S if held else longer
            return self._set(target, width, height, now_s)
        near_need = target == need and target > current
        if (target > RAISE_ABOVE * current or near_need) and since_s >= self._raise_pause_s:
            self._raised_s = now_s
            return self._set(target, width, height, now_s)
        return current

    def _set(self, bps: int, width: int, height: int, now_s: float) -> int:
        self._current_bps, self._size, self._changed_s = bps, (width, height), now_s
        return bps

    def _sent_bps(self, now_s: float) -> float:
        recent = sum(size for at_s, size in self._sent if now_s - at_s <= SENT_WINDOW_S)
        return 8 * recent / SENT_WINDOW_S


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

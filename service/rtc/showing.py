"""What a camera's tracks show and say beside what they send back: to whom, they do not know.

track.py and peer.py call it, on the event loop; session/audience.py hands it on to its viewers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from service.frame.composite import Composited, Untouched

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.rtc.packet import IncomingPacket


@dataclass(frozen=True, slots=True)
class Shown:
    """One composed picture on its way to viewers."""

    picture: Composited
    "A share of it: whoever encodes it makes one of their own."
    pts: int
    "90 kHz, growing within one track."
    arrived_s: float
    "When the frame that it was made of was complete, monotonic clock."

    def __post_init__(self) -> None:
        if type(self.picture) is not Composited:
            raise TypeError("only composed pictures are shown")


@dataclass(frozen=True, slots=True)
class ShownUntouched:
    """One picture of a camera as it came on its way to viewers: for a look without an effect, and
    for as long as the session has that. Nothing else carries such a picture to them."""

    picture: Untouched
    "A share of it, as above."
    wanted: Callable[[], bool]
    """Whether the session still wants the camera to be seen so: asked before the picture is
    encoded, before it is sent and before a part of it is sent again. From any thread."""
    pts: int
    arrived_s: float

    def __post_init__(self) -> None:
        if type(self.picture) is not Untouched:
            raise TypeError("only an untouched picture is shown as one")


AnyShown = Shown | ShownUntouched


class Showing(Protocol):
    """Whoever is shown a camera's pictures."""

    @property
    def watched(self) -> bool:
        """Whether anybody would see a picture. From any thread."""
        ...

    def show(self, shown: AnyShown) -> None: ...
    def hear(self, packet: IncomingPacket, mime_type: str) -> None: ...


class Nobody:
    """Shown to nobody."""

    watched = False

    def show(self, shown: AnyShown) -> None:
        """Nothing."""

    def hear(self, packet: IncomingPacket, mime_type: str) -> None:
        """Nothing."""


NOBODY = Nobody()

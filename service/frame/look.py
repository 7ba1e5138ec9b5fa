"""What a track should look like: an effect and the picture that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.policy.effects import Effect, Image

if TYPE_CHECKING:
    from service.frame.picture import Picture


@dataclass(frozen=True, slots=True)
class Look:
    """One frame is composed under exactly one Look; a new one replaces it between two frames."""

    effect: Effect
    picture: Picture | None = None
    """The decoded background; required for Image, unused otherwise."""

    def __post_init__(self) -> None:
        if isinstance(self.effect, Image) and self.picture is None:
            raise ValueError("an image effect needs its picture")

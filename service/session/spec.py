"""What a session is opened with, and what every session of a process shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.policy.effects import ALLOWED_BY_DEFAULT
from service.policy.rules import Lock
from service.session.films import Films
from service.session.sfu import SfuSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.frame.logo import Logo
    from service.policy.effects import Effect
    from service.rtc.peer import PeerSettings


@dataclass(frozen=True, slots=True)
class AwaySpec:
    """When a person counts as away, and which background is shown then."""

    after_s: int = 5
    "So long nobody must have been in view."
    background: str | None = None
    "A name of the library; None: the effect's own stays."


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What the platform asked for when it opened the session."""

    effect: Effect
    allowed_effects: frozenset[str] = ALLOWED_BY_DEFAULT
    away: AwaySpec = AwaySpec()
    audio: bool = True
    max_width: int = 1280
    max_height: int = 720
    max_fps: int = 30
    ttl_s: int = 3600
    metadata: Mapping[str, str] = field(default_factory=dict)
    tenant: str = ""
    "Whose session it is; empty for none."
    lock: Lock = Lock.NOTHING
    backgrounds: frozenset[str] | None = None
    "The pictures that it may show; None: any."
    logo: str | None = None
    "The name of what is drawn over every picture."


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What every session of this process shares."""

    peer: PeerSettings
    idle_ttl_s: float = 60.0
    "How long a session without a peer is kept."
    max_picture_bytes: int = 10 << 20
    max_picture_pixels: int = 24_000_000
    logos: Mapping[str, Logo] = field(default_factory=dict)
    films: Films = field(default_factory=Films)
    sfu: SfuSettings = field(default_factory=SfuSettings)

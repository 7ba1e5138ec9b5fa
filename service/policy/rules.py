"""What a session may be at most, by tenant: rules that nobody who uses the session gets round.

An operator writes them into a file (policy_file.py); a platform says more of the same for each
session, in the body of POST /v1/sessions or in the claims of a token. ``service.web.spec`` holds
what is asked for against them when a session is opened, ``service.session.session`` every change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from service.errors import InvalidField, NotAllowed
from service.policy.effects import ALL, Blur, Color, Effect, Image, Packed, effect_type

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TTL_S: Final = 86_400
# field: least, most, default
NUMBERS: Final[Mapping[str, tuple[int, int, int]]] = {
    "max_width": (64, 1920, 1280),
    "max_height": (64, 1920, 720),
    "max_fps": (1, 60, 30),
    "ttl_s": (10, MAX_TTL_S, 3600),
}
MAX_BACKGROUNDS: Final = 16
TENANT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
TENANT_LIMIT: Final = (
    "must be 1 to 64 of a-z, 0-9, '.', '-' and '_', and begin with a letter or digit"
)


class Lock(Enum):
    """What the holder of a token may not change of the effect."""

    NOTHING = "nothing"
    BACKGROUND = "background"
    "What is behind the person stays; the model, the edge, who is shown and the light may change."
    EFFECT = "effect"

    def keeps(self, held: Effect, wanted: Effect) -> bool:
        """Whether a change from one effect to another is one that this lock lets through."""
        match self:
            case Lock.NOTHING:
                return True
            case Lock.BACKGROUND:
                return _behind(held) == _behind(wanted)
            case Lock.EFFECT:
                return held == wanted


_STRICTNESS: Final = (Lock.NOTHING, Lock.BACKGROUND, Lock.EFFECT)


def stricter(one: Lock, other: Lock) -> Lock:
    """The one of the two that lets less through."""
    return max(one, other, key=_STRICTNESS.index)


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one tenant. The default forbids nothing."""

    allowed_effects: frozenset[str] = ALL
    effect: Effect | None = None
    "What a session begins with that names no effect; with a lock, the only one it begins with."
    lock: Lock = Lock.NOTHING
    backgrounds: frozenset[str] | None = None
    "Names of pictures, `session` among them where people may bring their own; None: any."
    logo: str | None = None
    "Drawn over every picture; None: the platform may choose."
    limits: Mapping[str, int] = field(default_factory=dict)
    "The most that a number of NUMBERS may be, where that is less than usual."

    def most(self, name: str) -> int:
        """The largest value of that number."""
        return min(NUMBERS[name][1], self.limits.get(name, NUMBERS[name][1]))

    def require(self, effect: Effect) -> None:
        """Raises NotAllowed for an effect that no session of this tenant may have."""
        if effect_type(effect) not in self.allowed_effects:
            names = ", ".join(sorted(self.allowed_effects))
            raise NotAllowed(f"the tenant's effects are: {names}")
        require_background(effect, self.backgrounds)
        if self.effect is not None and not self.lock.keeps(self.effect, effect):
            raise NotAllowed(f"the tenant's {self.lock.value} is locked")


def require_background(effect: Effect, backgrounds: frozenset[str] | None) -> None:
    """Raises NotAllowed for a picture that is not one of these; None is any."""
    if backgrounds is None or not isinstance(effect, Image) or effect.background in backgrounds:
        return
    names = ", ".join(sorted(backgrounds)) or "none"
    raise NotAllowed(f"the background {effect.background!r} is not allowed; these are: {names}")


class Tenants:
    """The rules of every tenant."""

    def __init__(
        self,
        default: Rules | None = None,
        named: Mapping[str, Rules] | None = None,
        logos: Collection[str] = (),
    ) -> None:
        """`default` is for sessions without a tenant and, where none is named, for every tenant;
        `logos` are the names that there are."""
        self._default = default or Rules()
        self._named = dict(named or {})
        self.logos = frozenset(logos)

    def rules(self, tenant: str) -> Rules:
        """Raises InvalidField for a tenant that is not one of those that are named, if any is: a
        name that is misspelt must not lead to laxer rules."""
        if not tenant or not self._named:
            return self._default
        try:
            return self._named[tenant]
        except KeyError:
            raise InvalidField("tenant", "is not one that this server has rules for") from None


def _behind(effect: Effect) -> tuple[object, ...]:
    match effect:
        case Blur():
            return ("blur", effect.strength, effect.falloff)
        case Image():
            return ("image", effect.background, effect.fit)
        case Color():
            return ("color", effect.color)
        case Packed():
            return ("packed",)
        case _:
            return ("none",)

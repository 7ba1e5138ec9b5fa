"""What an effect is, and which effects a session may use.

The one parser of effect JSON: the HTTP layer, session tokens and the ``matte`` command all read
effects through ``parse_effect``, so that a value which reaches the pipeline is always in range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from service.errors import InvalidField, NotAllowed


class Fit(Enum):
    """How a picture meets a frame of another shape."""

    COVER = "cover"
    CONTAIN = "contain"


EFFECT_TYPES: Final = ("blur", "image", "color", "packed", "none")
ALL: Final = frozenset(EFFECT_TYPES)
# "none" shows the real background, and "packed" needs somebody who puts it together again: a
# session may use them only where they were asked for by name.
ALLOWED_BY_DEFAULT: Final = ALL - {"none", "packed"}

# docs/models.md tells them apart. That one is named here does not say that this server has it: what
# is installed is known to service.frame.models, and a session is refused what is not.
MODELS: Final = ("hybrid", "selfie", "blazeface", "facemesh", "posenet", "bodypix", "rvm")
DEFAULT_MODEL: Final = "hybrid"
DEFAULT_STRENGTH: Final = 0.6
DEFAULT_EDGE: Final = 0.5
DEFAULT_LIGHT_WRAP: Final = 0.0
DEFAULT_FALLOFF: Final = 0.0
DEFAULT_FRAMING: Final = 0.0
DEFAULT_LIGHT: Final = 0.0

EVERYONE: Final = "everyone"
"""``people``: whoever is in view."""
SPEAKER: Final = "speaker"
"""``people``: the one who speaks."""
MOST_PEOPLE: Final = 8
"""``people`` as a number is that many of those nearest to the camera, this many at most."""

SESSION_BACKGROUND: Final = "session"
"""Reserved background name: the picture that was put for this session alone."""

BACKGROUND_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
BACKGROUND_NAME_LIMIT: Final = (
    "must be 1 to 64 of a-z, 0-9, '-' and '_', and begin with a letter or digit"
)
COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Blur:
    """The camera's own background, blurred. ``strength`` is 0 (least) to 1 (most), next to the
    person; ``falloff`` is how much the blur grows with the distance from them, 0 (not) to 1.

    As in every effect with a person in it: ``model`` is one of MODELS; ``edge`` is 0 (crisp) to 1
    (soft); ``people`` is EVERYONE, SPEAKER or a number from 1 to MOST_PEOPLE; ``light_wrap`` is 0
    (none) to 1 (most) of the background's light on the person's outline; ``framing`` is 0 (all of
    the camera's picture) to 1: how far it is zoomed and panned to keep the face in its place;
    ``light`` is 0 (none) to 1: how far a dark face is brightened.
    """

    strength: float = DEFAULT_STRENGTH
    model: str = DEFAULT_MODEL
    edge: float = DEFAULT_EDGE
    people: str | int = EVERYONE
    light_wrap: float = DEFAULT_LIGHT_WRAP
    framing: float = DEFAULT_FRAMING
    light: float = DEFAULT_LIGHT
    falloff: float = DEFAULT_FALLOFF


@dataclass(frozen=True, slots=True)
class Image:
    """A picture of the library, or ``SESSION_BACKGROUND``."""

    background: str
    fit: Fit = Fit.COVER
    model: str = DEFAULT_MODEL
    edge: float = DEFAULT_EDGE
    people: str | int = EVERYONE
    light_wrap: float = DEFAULT_LIGHT_WRAP
    framing: float = DEFAULT_FRAMING
    light: float = DEFAULT_LIGHT


@dataclass(frozen=True, slots=True)
class Color:
    """One flat colour, ``#rrggbb`` in lower case."""

    color: str
    model: str = DEFAULT_MODEL
    edge: float = DEFAULT_EDGE
    people: str | int = EVERYONE
    light_wrap: float = DEFAULT_LIGHT_WRAP
    framing: float = DEFAULT_FRAMING
    light: float = DEFAULT_LIGHT


@dataclass(frozen=True, slots=True)
class Packed:
    """The person before black, and beside it how much of each pixel is the person: for a platform
    that composes the picture itself."""

    model: str = DEFAULT_MODEL
    edge: float = DEFAULT_EDGE
    people: str | int = EVERYONE
    framing: float = DEFAULT_FRAMING
    light: float = DEFAULT_LIGHT


@dataclass(frozen=True, slots=True)
class Nothing:
    """The camera as it is."""


Effect = Blur | Image | Color | Packed | Nothing

# A session that names no effect hides its background (fail closed).
DEFAULT_EFFECT: Final = Blur()

_PERSON_FIELDS: Final = frozenset({"type", "model", "edge", "people", "framing", "light"})
_SHARED_FIELDS: Final = _PERSON_FIELDS | {"light_wrap"}
FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "blur": _SHARED_FIELDS | {"strength", "falloff"},
    "image": _SHARED_FIELDS | {"background", "fit"},
    "color": _SHARED_FIELDS | {"color"},
    "packed": _PERSON_FIELDS,
    "none": frozenset({"type"}),
}


def parse_effect(value: object, *, allowed: frozenset[str] = ALL) -> Effect:
    """The effect that a JSON value describes; raises InvalidField or NotAllowed."""
    if not isinstance(value, Mapping):
        raise InvalidField("effect", 'must be an object such as {"type": "blur"}')
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise InvalidField("effect.type", f"must be one of {', '.join(EFFECT_TYPES)}")
    for name in value:
        if name not in FIELDS[kind]:
            known = ", ".join(sorted(FIELDS[kind]))
            raise InvalidField(
                f"effect.{str(name)[:64]}", f"is not a field of {kind!r}, which has {known}"
            )
    effect = _parse(kind, value)
    if kind not in allowed:
        names = ", ".join(name for name in EFFECT_TYPES if name in allowed)
        raise NotAllowed(f"effect {kind!r} is not allowed in this session, which allows: {names}")
    return effect


def effect_json(effect: Effect) -> dict[str, object]:
    """The JSON of an effect, complete: ``parse_effect`` reads back an equal one."""
    match effect:
        case Nothing():
            return {"type": "none"}
        case Blur():
            own: dict[str, object] = {
                "type": "blur",
                "strength": effect.strength,
                "falloff": effect.falloff,
            }
        case Image():
            own = {"type": "image", "background": effect.background, "fit": effect.fit.value}
        case Color():
            own = {"type": "color", "color": effect.color}
        case Packed():
            own = {"type": "packed"}
    if not isinstance(effect, Packed):
        own["light_wrap"] = effect.light_wrap
    return {
        **own,
        "model": effect.model,
        "edge": effect.edge,
        "people": effect.people,
        "framing": effect.framing,
        "light": effect.light,
    }


def effect_type(effect: Effect) -> str:
    """The word that names this kind of effect in JSON and in ``allowed_effects``."""
    return str(effect_json(effect)["type"])


def _parse(kind: str, value: Mapping[object, object]) -> Effect:
    if kind == "none":
        return Nothing()
    model = _choice(value, "model", MODELS, DEFAULT_MODEL)
    edge = _fraction(value, "edge", DEFAULT_EDGE)
    people = _people(value)
    wrap = _fraction(value, "light_wrap", DEFAULT_LIGHT_WRAP)
    framing = _fraction(value, "framing", DEFAULT_FRAMING)
    light = _fraction(value, "light", DEFAULT_LIGHT)
    match kind:
        case "blur":
            strength = _fraction(value, "strength", DEFAULT_STRENGTH)
            falloff = _fraction(value, "falloff", DEFAULT_FALLOFF)
            return Blur(strength, model, edge, people, wrap, framing, light, falloff)
        case "image":
            fit = Fit(_choice(value, "fit", tuple(fit.value for fit in Fit), Fit.COVER.value))
            return Image(_background(value), fit, model, edge, people, wrap, framing, light)
        case "packed":
            return Packed(model, edge, people, framing, light)
        case _:
            return Color(_color(value), model, edge, people, wrap, framing, light)


def _fraction(value: Mapping[object, object], name: str, default: float) -> float:
    number = value.get(name, default)
    # bool is an int in Python, and JSON's true is not a strength.
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidField(f"effect.{name}", "must be a number from 0 to 1")
    # NaN fails both comparisons, and an int too large for a float never gets to float().
    if not 0 <= number <= 1 or math.isnan(number):
        raise InvalidField(f"effect.{name}", "must be a number from 0 to 1")
    return float(number)


def _choice(
    value: Mapping[object, object], name: str, choices: tuple[str, ...], default: str
) -> str:
    word = value.get(name, default)
    if not isinstance(word, str) or word not in choices:
        raise InvalidField(f"effect.{name}", f"must be one of {', '.join(choices)}")
    return word


def _people(value: Mapping[object, object]) -> str | int:
    people = value.get("people", EVERYONE)
    if isinstance(people, str) and people in (EVERYONE, SPEAKER):
        return people
    # bool is an int in Python, and JSON's true is not a number of people.
    if isinstance(people, bool) or not isinstance(people, int) or not 1 <= people <= MOST_PEOPLE:
        raise InvalidField(
            "effect.people",
            f"must be {EVERYONE!r}, {SPEAKER!r} or a whole number from 1 to {MOST_PEOPLE}",
        )
    return people


def _background(value: Mapping[object, object]) -> str:
    name = value.get("background")
    if not isinstance(name, str) or BACKGROUND_NAME.fullmatch(name) is None:
        raise InvalidField("effect.background", BACKGROUND_NAME_LIMIT)
    return name


def _color(value: Mapping[object, object]) -> str:
    color = value.get("color")
    if not isinstance(color, str) or COLOR.fullmatch(color) is None:
        raise InvalidField("effect.color", "must be '#' and six hexadecimal digits")
    return color.lower()

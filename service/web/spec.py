"""What a platform may ask of a session: JSON -> SessionSpec, and back.

Two things read it: POST /v1/sessions, and the signed token that opens a session again on another
server. The limits are those of docs/api.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from service.errors import InvalidField
from service.policy.effects import (
    ALLOWED_BY_DEFAULT,
    BACKGROUND_NAME,
    BACKGROUND_NAME_LIMIT,
    DEFAULT_EFFECT,
    EFFECT_TYPES,
    SESSION_BACKGROUND,
    Effect,
    Image,
    effect_json,
    effect_type,
    parse_effect,
)
from service.session.session import AwaySpec, SessionSpec

MAX_TTL_S: Final = 86_400
# field: least, most, default
NUMBERS: Final[Mapping[str, tuple[int, int, int]]] = {
    "max_width": (64, 1920, 1280),
    "max_height": (64, 1920, 720),
    "max_fps": (1, 60, 30),
    "ttl_s": (10, MAX_TTL_S, 3600),
}
MAX_AWAY_AFTER_S: Final = 3600
MAX_METADATA_ENTRIES: Final = 16
MAX_METADATA_KEY_CHARS: Final = 64
MAX_METADATA_VALUE_CHARS: Final = 256
# The token holds the metadata, and a token has a limit: service.policy.tokens.MAX_TOKEN_CHARS.
MAX_METADATA_BYTES: Final = 2048
FIELDS: Final = frozenset({"effect", "allowed_effects", "away", "audio", "metadata", *NUMBERS})
AWAY_FIELDS: Final = ("after_s", "background")


def parse_spec(body: Mapping[str, object]) -> SessionSpec:
    """The session that a JSON object asks for; raises InvalidField or NotAllowed."""
    for name in body:
        if name not in FIELDS:
            raise InvalidField(name[:64], f"is not a field, which are {', '.join(sorted(FIELDS))}")
    allowed = _allowed_effects(body)
    audio = body.get("audio", True)
    if not isinstance(audio, bool):
        raise InvalidField("audio", "must be true or false")
    return SessionSpec(
        effect=_effect(body, allowed),
        allowed_effects=allowed,
        away=_away(body),
        audio=audio,
        max_width=_number(body, "max_width"),
        max_height=_number(body, "max_height"),
        max_fps=_number(body, "max_fps"),
        ttl_s=_number(body, "ttl_s"),
        metadata=_metadata(body),
    )


def spec_json(spec: SessionSpec) -> dict[str, object]:
    """A session's JSON, complete: ``parse_spec`` reads back an equal one."""
    return {
        "effect": effect_json(spec.effect),
        "allowed_effects": sorted(spec.allowed_effects),
        "away": away_json(spec.away),
        "audio": spec.audio,
        "max_width": spec.max_width,
        "max_height": spec.max_height,
        "max_fps": spec.max_fps,
        "ttl_s": spec.ttl_s,
        "metadata": dict(spec.metadata),
    }


def away_json(away: AwaySpec) -> dict[str, object]:
    """The JSON of `away`, complete."""
    return {"after_s": away.after_s, "background": away.background}


def _allowed_effects(body: Mapping[str, object]) -> frozenset[str]:
    names = body.get("allowed_effects")
    if names is None:
        return ALLOWED_BY_DEFAULT
    known = isinstance(names, list) and all(
        isinstance(name, str) and name in EFFECT_TYPES for name in names
    )
    if not known or not isinstance(names, list) or not names:
        raise InvalidField(
            "allowed_effects", f"must be a list of one or more of {', '.join(EFFECT_TYPES)}"
        )
    return frozenset(names)


def _effect(body: Mapping[str, object], allowed: frozenset[str]) -> Effect:
    if body.get("effect") is None:
        if effect_type(DEFAULT_EFFECT) not in allowed:
            raise InvalidField("effect", "must be given where allowed_effects leaves out blur")
        return DEFAULT_EFFECT
    effect = parse_effect(body["effect"], allowed=allowed)
    if isinstance(effect, Image) and effect.background == SESSION_BACKGROUND:
        raise InvalidField(
            "effect.background",
            f"cannot begin as {SESSION_BACKGROUND!r}: that picture is put once the session is open",
        )
    return effect


def _away(body: Mapping[str, object]) -> AwaySpec:
    away = body.get("away")
    if away is None:
        return AwaySpec()
    if not isinstance(away, Mapping):
        raise InvalidField("away", f"must be an object of {' and '.join(AWAY_FIELDS)}")
    for name in away:
        if name not in AWAY_FIELDS:
            raise InvalidField(
                f"away.{str(name)[:64]}", f"is not a field, which are {' and '.join(AWAY_FIELDS)}"
            )
    after_s = _whole(
        away.get("after_s", AwaySpec().after_s), "away.after_s", least=1, most=MAX_AWAY_AFTER_S
    )
    background = away.get("background")
    if background is None:
        return AwaySpec(after_s)
    if not isinstance(background, str) or BACKGROUND_NAME.fullmatch(background) is None:
        raise InvalidField("away.background", f"{BACKGROUND_NAME_LIMIT}, or be null")
    if background == SESSION_BACKGROUND:
        raise InvalidField(
            "away.background",
            f"must be a picture of the library: {SESSION_BACKGROUND!r} is put later, if at all",
        )
    return AwaySpec(after_s, background)


def _number(body: Mapping[str, object], name: str) -> int:
    least, most, default = NUMBERS[name]
    return _whole(body.get(name, default), name, least=least, most=most)


def _whole(value: object, field: str, *, least: int, most: int) -> int:
    # bool is an int in Python, and JSON's true is not a number.
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidField(field, f"must be a whole number from {least} to {most}")
    return value


def _metadata(body: Mapping[str, object]) -> Mapping[str, str]:
    metadata = body.get("metadata", {})
    limit = (
        f"must be an object of {MAX_METADATA_ENTRIES} entries at most, its names 1 to "
        f"{MAX_METADATA_KEY_CHARS} characters, its values text of {MAX_METADATA_VALUE_CHARS} "
        "characters at most"
    )
    if not isinstance(metadata, Mapping) or len(metadata) > MAX_METADATA_ENTRIES:
        raise InvalidField("metadata", limit)
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE_CHARS:
            raise InvalidField("metadata", limit)
        if not 1 <= len(key) <= MAX_METADATA_KEY_CHARS:
            raise InvalidField("metadata", limit)
    # Escaped, as it stands in the token: a character outside ASCII is 6 or 12 bytes there.
    if len(json.dumps(dict(metadata)).encode()) > MAX_METADATA_BYTES:
        raise InvalidField("metadata", f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return dict(metadata)
